"""The action of the policy spec: the commands that the model's outputs stand for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from policy_runner.core.spec.base import Axes, Name, NamedNumbers, Names, Ranges, Strict, TensorName
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


class TorqueLimit(Strict):
    """Bounds of a position target: |kp (target - q) - kd dq| <= limit, with the measured q and dq.

    The raw value is bounded, after clip_raw, so `last_action: clipped` sees the bounded value.
    """

    limit: NamedNumbers | Literal["effort_limit"] = Field(
        "effort_limit", description="N m, per joint of the group; default: the spec's effort_limit"
    )
    stiffness: NamedNumbers | None = Field(
        None, description="kp, N m/rad, per joint of the group; default: the spec's stiffness"
    )
    damping: NamedNumbers | None = Field(
        None, description="kd, N m s/rad, per joint of the group; default: the spec's damping"
    )
    every: Literal["inference", "tick"] = Field(
        description="inference: once, with the state of the inference; tick: again at every tick"
        " in between, from the value that the tick before it has left"
    )
    input: Name | None = Field(
        None, description="the JointState of q and dq; default: the only one of `inputs`"
    )


class Rounding(Strict):
    """Rounds to multiples of a step; halves to the even multiple, as numpy's and torch's round."""

    step: NamedNumbers = Field(description="> 0, per element; 0: not rounded")
    of: Literal["raw", "target"] = Field(
        description="raw: the raw value, after clip_raw; target: the target, last"
    )


class RotatedVectors(Strict):
    """Turns vectors of targets by the measured orientation of the base."""

    input: Name = Field(description="a name of `inputs`")
    field: Name = Field("orientation", description="path of the quaternion; default orientation")
    to: Literal["body", "world"] = Field(
        description="body: the policy's vector is in the world's axes, R(q)^T v is commanded;"
        " world: it is in the body's, R(q) v is"
    )
    part: Literal["all", "yaw"] = Field(
        "all", description="yaw: turned only by the yaw of `euler_angles`; default all"
    )
    vectors: Annotated[list[Names], Field(min_length=1)] | None = Field(
        None,
        description="names of the x, y, z of each vector (x, y for yaw); default: the group's"
        " elements are one",
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
    limit_torque: TorqueLimit | None = Field(
        None, description="bounds by the measured state, for positions; default: none"
    )
    scale: NamedNumbers = Field(1.0, description="factor, 0 allowed; default 1")
    offset: NamedNumbers = Field(0.0, description="added after scale; default 0")
    relative_to: Literal["zero", "default_joint_pos", "previous_target", "measured"] = Field(
        "zero", description="pose that is added too, only for position; default zero (nothing)"
    )
    rotate: RotatedVectors | None = Field(
        None, description="turns vectors by the base's orientation, before clip; default: none"
    )
    clip: Ranges | None = Field(None, description="bounds of the target; default: none")
    ema: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="weight of the new target; 1 = no filter"
    )
    round: Rounding | None = Field(None, description="rounding to a step; default: none")

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


Actions = Annotated[list[ActionTensor], Field(min_length=1)]  # outputs that command something
LastAction = Literal["raw", "clipped", "target", "limited"]  # what last_action terms read
