"""The tensors of the policy spec: terms, history, normalization, recurrent state."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveInt

from policy_runner.core.spec.base import (
    Name,
    Names,
    Range,
    Sha256,
    Strict,
    TensorName,
    TermArithmetic,
)
from policy_runner.core.spec.terms import Term

MOST_FRAMES = 10_000  # of a history; it is kept in memory completely
Frames = Annotated[PositiveInt, Field(le=MOST_FRAMES)]
Lag = Annotated[NonNegativeInt, Field(lt=MOST_FRAMES)]
Lags = Annotated[list[Lag], Field(min_length=1)]
Preset = Literal[
    "sb3", "rsl_rl", "rl_games", "skrl",
    "lerobot_mean_std", "lerobot_min_max", "lerobot_quantiles", "lerobot_quantile10",
    "lerobot_identity", "openpi_z", "openpi_quantile",
]  # fmt: skip
Statistic = Literal["mean", "std", "var", "min", "max", "q01", "q10", "q90", "q99"]


Length = Frames | dict[str, Frames | list[Frames] | dict[str, Frames]]
LagsOf = Lags | dict[str, Lags | dict[str, Lags]]
Stack = Literal["term", "frame", "element"]
Order = Literal["oldest_first", "newest_first"]


class HistoryBlock(Strict):
    """One block of a tensor: some terms, stacked in one way."""

    terms: Names | None = Field(
        None, description="names of terms of the tensor, in this order; default: all of them"
    )
    stack: Stack = Field("frame", description="as in a history; default frame")
    order: Order = Field("newest_first", description="order of the frames; default newest_first")
    length: Length | None = Field(None, description="as in a history; default: the newest frame")
    lags: LagsOf | None = Field(None, description="as in a history, instead of `length`")


class History(Strict):
    """Past frames: by element, by term, or one whole frame after another.

    Set either `length` or `lags`. A mapping by term name needs `stack: term` or `element`; a term
    that is not in the mapping has only the newest frame.
    """

    stack: Stack | None = Field(
        None,
        description="needed, except with `blocks`. term: all frames of the first term, then the"
        " next; frame: frame by frame; element: all frames of the first element, then of the next",
    )
    order: Order | None = Field(
        None, description="order of the frames; needed, except with `blocks`"
    )
    length: Length | None = Field(
        None,
        description="newest frames kept, or {term: frames}; frames of a term also by element, as"
        " a list or {element: frames}",
    )
    lags: LagsOf | None = Field(
        None,
        description="which frames, 0 is the newest, or {term: lags}; lags of a term also by"
        " {element: lags}",
    )
    blocks: Annotated[list[HistoryBlock], Field(min_length=1)] | None = Field(
        None,
        description="instead of the keys above: blocks of the tensor, one after the other, each"
        " with its own rule; a term may be in several",
    )
    fill: Literal["repeat", "zeros", "newest"] = Field(
        description="frames before the first one; repeat: equal to the first; zeros: 0; newest:"
        " equal to the newest"
    )


class Normalization(Strict):
    """Stored statistics and their formula; docs/reference/policy_spec.md lists the presets.

    mean_std: (x - mean) / (std + eps); mean_var: (x - mean) / sqrt(var + eps) with eps_in_sqrt;
    min_max: 2 (x - min) / (max - min) - 1; quantiles and quantile10: the same with q01, q99 and
    q10, q90; identity: x. Then clip.
    """

    preset: Preset | None = Field(
        None, description="a formula by name; the keys below override the preset"
    )
    statistics: Name | dict[str, list[float]] | None = Field(
        None, description=".npz, .json or .safetensors in the spec's folder, or inline by name"
    )
    group: Name | Annotated[list[Name], Field(min_length=1)] | None = Field(
        None,
        description="place of the statistics in a nested .json: a key, or keys from outside to"
        " inside",
    )
    keys: dict[Statistic, Name] = Field(
        {}, description="the file's names of mean, std, var, ...; default: the same names"
    )
    formula: Literal["mean_std", "mean_var", "min_max", "quantiles", "quantile10", "identity"] | (
        None
    ) = Field(None, description="needed without preset")
    eps: Annotated[float, Field(ge=0)] | None = Field(None, description="needed without preset")
    eps_in_sqrt: bool | None = Field(
        None, description="sqrt(var + eps) instead of std + eps; needed for mean_std and mean_var"
    )
    eps_if_zero: bool | None = Field(
        None, description="eps only where the spread is 0, instead of added; default false"
    )
    eps_in_inverse: bool | None = Field(
        None, description="denormalization uses eps too; for mean_std and mean_var; default true"
    )
    clip: Range | None = Field(None, description="after the formula; default: the preset's")
    sha256: Sha256 | None = Field(None, description="checksum of the file; default: not checked")
    on: Literal["frame", "stacked"] | None = Field(
        None, description="before or after the history; needed if there is a history"
    )


class PerTermNormalization(Strict):
    """Separate statistics for each term."""

    per_term: dict[str, Normalization | Literal["none"]] = Field(
        description="by term name, every term of the tensor"
    )
    on: Literal["frame", "stacked"] | None = Field(
        None, description="before or after the history; needed if there is a history"
    )


class StoredTensor(Strict):
    """Numbers from a file."""

    file: Name = Field(description=".npz or .safetensors in the spec's folder")
    key: Name = Field(description="name of the tensor in the file")
    sha256: Sha256 | None = Field(None, description="checksum of the file; default: not checked")


class ModelOutputTerm(TermArithmetic):
    """An output of a model of `models`, or a part of it, flattened in C order."""

    term: Literal["model_output"]
    model: Name = Field(description="a name of `models`")
    tensor: TensorName = Field(description="output of that model: its name, or its position")
    slice: Annotated[list[int], Field(min_length=2, max_length=2)] | None = Field(
        None, description="[first, last) of the flattened output; default: all"
    )
    previous: bool = Field(
        False,
        description="the value at the end of the previous inference, at first 0; default: of this"
        " inference, for which the model must come before",
    )


FrameTerm = Annotated[Term | ModelOutputTerm, Field(discriminator="term")]


class ObservationTensor(Strict):
    """One input tensor of the model: built from ordered `terms`, one term `whole`, or `constant`.

    The numbers fill the tensor in C order, for any rank. If it has a batch axis, the batch is 1.
    """

    tensor: TensorName = Field(description="input of the model: its name, or its position")
    terms: Annotated[list[FrameTerm], Field(min_length=1)] | None = Field(
        None, description="terms, one after the other"
    )
    whole: FrameTerm | None = Field(
        None, description="one term that fills the tensor, such as an image"
    )
    constant: FiniteFloat | list[FiniteFloat] | StoredTensor | None = Field(
        None, description="numbers that never change: one for all, or all in C order"
    )
    deliberate: bool = Field(
        False,
        description="true: `constant` is meant, although the graph shows a recurrent state here;"
        " without it `check` refuses; default false",
    )
    history: History | None = Field(None, description="default: the newest frame only")
    clip: Range | None = Field(None, description="before normalization; default: none")
    normalization: Normalization | PerTermNormalization | Literal["none", "in_model"] | None = (
        Field(
            None,
            description="needed with `terms`; none: no normalization; in_model: the model does it",
        )
    )

    @property
    def every_term(self) -> list[FrameTerm]:
        """The terms of the tensor, including `whole`; empty for a constant."""
        return [*(self.terms or [])] + ([self.whole] if self.whole is not None else [])


class State(Strict):
    """Recurrent state: after each inference `output` becomes the next `input`."""

    input: TensorName = Field(description="input of the model")
    output: TensorName = Field(description="output of the model, of the same shape and type")
    initial: Literal["zeros"] | StoredTensor = Field(
        "zeros", description="value at every reset; default zeros"
    )
    deliberate: bool = Field(
        False,
        description="true: this pair is meant, although the graph shows another one; without it"
        " `check` refuses; default false",
    )


Observation = Annotated[list[ObservationTensor], Field(min_length=1)]  # every input of a model
