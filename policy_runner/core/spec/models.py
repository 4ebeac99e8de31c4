"""A policy's models: the network, models that run before it, and policies that take turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, PositiveInt

from policy_runner.core.spec.action import Actions, LastAction
from policy_runner.core.spec.base import Name, Names, Sha256, Strict, TensorName
from policy_runner.core.spec.tensors import Observation, State

# A part's name becomes the first half of its tensors' names, as in `encoder/obs`.
PartName = Annotated[str, Field(pattern=r"^[A-Za-z]\w*$")]
Dtype = Literal["bool", "uint8", "int32", "int64", "float16", "float32", "float64"]


class ServerTensor(Strict):
    """One output of a model on a server, exactly as it is taken."""

    dtype: Dtype = Field(description="type of the numbers")
    shape: Annotated[list[PositiveInt], Field(max_length=8)] = Field(
        description="elements per axis, without a batch axis if the server has none"
    )


class ServerInput(Strict):
    """One input of a model on a server, exactly as it is sent."""

    dtype: Dtype | Literal["text"] = Field(
        description="type of the numbers; images are mostly uint8; text: a text, from a term `text`"
    )
    shape: Annotated[list[PositiveInt], Field(max_length=8)] = Field(
        description="elements per axis, without a batch axis if the server has none; of a text"
        " [bytes], the `size` of its term"
    )


class ServerTensors(Strict):
    """The tensors of a model whose file is not here, by name."""

    inputs: Annotated[dict[Name, ServerInput], Field(min_length=1)] = Field(
        description="what is sent; with openpi's protocol the names are the keys of a request"
    )
    outputs: Annotated[dict[Name, ServerTensor], Field(min_length=1)] = Field(
        description="what is taken of an answer; the rest of it is ignored"
    )


class Model(Strict):
    """The network: an ONNX file, or the tensors of a model that only a server has."""

    file: Name | None = Field(
        None, description="ONNX file, a path in the spec's folder; default: none"
    )
    tensors: ServerTensors | None = Field(
        None,
        description="in place of `file`: what the server has, for `backend: remote` only; default:"
        " none",
    )
    sha256: Sha256 | None = Field(None, description="checksum of the file; default: not checked")
    data: dict[Name, Sha256] | None = Field(
        None,
        description="{file: checksum} of every weight file that the model names (external data);"
        " default: not checked",
    )


class EarlierModel(Model):
    """A model that runs before `model` in the same inference, such as an encoder.

    Terms `model_output` of later models read its outputs. Its histories advance at every
    inference; its recurrent states advance when it runs.
    """

    every: PositiveInt = Field(
        1,
        description="inferences per run: 1 is every inference; the first inference after a reset"
        " always runs it, between two runs its outputs stay; default 1",
    )
    observation: Observation = Field(
        description="every input of this model that is no recurrent state"
    )
    state: list[State] = Field([], description="recurrent state of this model; default: none")
    ignored_outputs: list[TensorName] = Field(
        [], description="outputs of this model that nothing reads; default: none"
    )


Models = Mapping[PartName, EarlierModel]


class OtherPolicy(Strict):
    """A policy that takes turns with the one of the top level.

    `inputs`, `motions`, joints, gains and `control_dt` are those of the top level. Its action has
    the same elements in the same order.
    """

    model: Model = Field(description="the network")
    models: Models = Field({}, description="models that run before `model`; default: none")
    observation: Observation = Field(
        description="every input of the model that is no recurrent state"
    )
    state: list[State] = Field([], description="recurrent state; default: none")
    action: Actions = Field(description="outputs of the model that command something")
    ignored_outputs: list[TensorName] = Field(
        [], description="outputs of the model that command nothing; default: none"
    )
    last_action: LastAction = Field(
        description="value that last_action terms read, as at the top level"
    )


class SwitchValue(Strict):
    """The number that selects the policy: the Euclidean norm of fields of one message."""

    input: Name = Field(description="a name of `inputs`")
    fields: Names = Field(
        description="paths of numbers, such as linear.x; one alone gives its absolute value"
    )


class Threshold(Strict):
    """The limits between two neighbours in the list of policies."""

    up: FiniteFloat = Field(description="a value above it selects the next policy")
    down: FiniteFloat = Field(
        description="a value below it selects the policy before; at most `up`"
    )


class Switch(Strict):
    """Selects one of several policies at every inference; `thresholds` have a hysteresis.

    The list of policies is the one of the top level, then `policies` in their order. After a reset
    the first one of the list is selected, then the value decides.
    """

    first: PartName = Field(description="name of the policy of the top level")
    value: SwitchValue = Field(description="number that selects")
    thresholds: Annotated[list[Threshold], Field(min_length=1)] = Field(
        description="between the first and the second policy, the second and the third, ..."
    )
    policies: Annotated[Mapping[PartName, OtherPolicy], Field(min_length=1)] = Field(
        description="the other policies, by name"
    )
    state: Literal["reset", "keep", "advance"] = Field(
        description="recurrent states of the policy that is selected; reset: as at the first"
        " inference; keep: as it left them; advance: its models run at every inference, also while"
        " another policy is selected"
    )
    history: Literal["reset", "keep", "advance"] = Field(
        description="its histories; reset: empty; keep: as it left them; advance: also filled while"
        " another policy is selected"
    )
    clocks: Literal["reset", "keep", "advance"] = Field(
        description="its phase clocks, counters and motions; reset: at their start; keep: as it"
        " left them; advance: they also run while another policy is selected"
    )
    last_action: Literal["zeros", "own", "carry"] = Field(
        description="what its last_action terms read first; zeros; own: its own last action; carry:"
        " that of the policy before, which needs the same `last_action`"
    )

    @property
    def names(self) -> list[str]:
        """The names of all policies, in their order."""
        return [self.first, *self.policies]
