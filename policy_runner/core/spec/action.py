"""The action of the policy spec: the commands that the model's outputs stand for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from policy_runner.core.spec.base import Axes, NamedNumbers, Names, Ranges, Strict, TensorName
from policy_runner.core.spec.tensors import Normalization


class Argmax(Strict):
    """A choice of one row: the group's raw values are the chosen row."""

    table: Annotated[
        list[Annotated[list[FiniteFloat], Field(min_length=1)]], Field(min_length=1)
    ] = Field(description="one row per choice, one number per element of the group")
    by: Literal["logits", "index"] = Field(
        "logits",
        description="logits: one output per row, the largest wins; index: one output is the row's"
        " index; default logits",
    )


class ActionGroup(Strict):
    """Consecutive elements of one kind; `action` describes the order of the arithmetic.

    `joints` for position [rad], velocity [rad/s] and effort [N m]; `axes` for twist [m/s, rad/s];
    `elements` (names of your choice) for value, which is published by field path.
    """

    kind: Literal["position", "velocity", "effort", "twist", "value"] = Field(
        description="kind of command"
    )
    joints: Names | None = Field(
        None, description="names of joint_names, in the order of the output"
    )
    axes: Axes | None = Field(None, description="axes of a twist, in the order of the output")
    elements: Names | None = Field(None, description="names of values, in the order of the output")
    slice: Annotated[list[int], Field(min_length=2, max_length=2)] | None = Field(
        None,
        description="[first, last) of the flattened output; default: after the previous group",
    )
    argmax: Argmax | None = Field(None, description="default: the outputs are the raw values")
    squash: Literal["none", "tanh"] = Field(
        "none", description="applied to the raw values; default none"
    )
    clip_raw: Ranges | None = Field(
        None, description="bounds of the raw values, after squash; default: none"
    )
    scale: NamedNumbers = Field(1.0, description="factor, 0 allowed; default 1")
    offset: NamedNumbers = Field(0.0, description="added after scale; default 0")
    relative_to: Literal["zero", "default_joint_pos", "previous_target", "measured"] = Field(
        "zero", description="pose that is added too, only for position; default zero (nothing)"
    )
    clip: Ranges | None = Field(None, description="bounds of the target; default: none")
    ema: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="weight of the new target; 1 = no filter"
    )

    @property
    def names(self) -> list[str]:
        """The group's joints, axes or elements."""
        return [*(self.joints or self.axes or self.elements or [])]


class ActionTensor(Strict):
    """One output tensor of the model and the meaning of its elements."""

    tensor: TensorName = Field(description="output of the model: its name, or its position")
    groups: Annotated[list[ActionGroup], Field(min_length=1)] = Field(
        description="one after the other, or each with a slice"
    )
    denormalization: Normalization | None = Field(
        None, description="raw * spread + mean, after clip_raw and before scale"
    )
