"""The action of the policy spec: the commands that the model's outputs stand for, and chunks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveFloat, PositiveInt

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


MOST_STEPS = 10_000  # of a chunk; it is kept in memory completely
SeamMethod = Literal[
    "cross_fade", "replace", "temporal_ensemble",
    "weighted_average", "latest_only", "average", "conservative",
]  # fmt: skip


class Seam(Strict):
    """The change from one chunk to the next.

    Every start from standstill fades from the held command, with every method.
    """

    method: SeamMethod = Field(
        "cross_fade",
        description="cross_fade: the difference to the older motion fades; replace: at once, within"
        " max_rate; temporal_ensemble: ACT's weighted mean of all predictions; weighted_average,"
        " latest_only, average, conservative: LeRobot's, 0.3, 0, 0.5 or 0.7 of the older chunk",
    )
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="of cross_fade: duration, as a share of the time between two chunks"
    )
    min_ticks: PositiveInt = Field(4, description="shortest fade, control periods; default 4")
    catch_up_rate: NamedNumbers = Field(
        1.0,
        description="> 0, unit/s, per element of the action: no fade is faster; default 1",
    )
    coefficient: FiniteFloat = Field(
        0.01,
        description="of temporal_ensemble: m of the weights exp(-m i), i = 0 is the oldest; above"
        " 0 prefers old predictions; default 0.01",
    )


class NoiseInput(Strict):
    """An input of the model that is filled with standard normal noise before every inference."""

    tensor: TensorName = Field(description="input of the model: its name, or its position")
    seed: NonNegativeInt = Field(0, description="the same noise after every reset; default 0")


class Denoise(Strict):
    """A model that is one step of a flow: the runner integrates from noise to actions.

    The action tensor is the velocity.
    """

    steps: PositiveInt = Field(description="Euler steps")
    input: TensorName = Field(description="input of the model with the noisy actions")
    time: TensorName = Field(
        description="input of the model with the time; with one number per action for `trained`"
    )
    convention: Literal["noise_at_1", "noise_at_0"] = Field(
        "noise_at_1",
        description="noise_at_1: time runs from 1 to 0, the velocity points to the noise (openpi,"
        " LeRobot); noise_at_0: from 0 to 1, it points to the actions; default noise_at_1",
    )
    seed: NonNegativeInt = Field(0, description="the same noise after every reset; default 0")


class PreviousInput(Strict):
    """Inputs of a model that continues the older chunk by itself."""

    tensor: TensorName = Field(
        description="the older chunk from the observation on, in the model's numbers; then 0"
    )
    delay: TensorName | None = Field(
        None, description="input with the number of committed actions; default: none"
    )
    mask: TensorName | None = Field(
        None, description="input that is 1 for committed actions, else 0; default: none"
    )
    max_delay: PositiveInt | None = Field(
        None, description="most committed actions of the training; default: any"
    )


class RealTimeChunking(Strict):
    """The new chunk continues the older one; needs `denoise`."""

    method: Literal["guided", "trained"] = Field(
        description="guided: the older chunk pulls each step of the flow; trained: the network"
        " learned to continue fixed first actions"
    )
    schedule: Literal["zeros", "ones", "linear", "exp"] = Field(
        "linear", description="of guided: weights after the committed actions; default linear"
    )
    horizon: PositiveInt | None = Field(
        None,
        description="of guided: first action without a pull; default: the committed actions and"
        " those until the next chunk",
    )
    max_gain: PositiveFloat = Field(10.0, description="of guided: largest gain; default 10")
    max_delay: PositiveInt | None = Field(
        None,
        description="of trained: most committed actions of the training; a longer delay starts"
        " without a prefix; default: any",
    )


class Chunk(Strict):
    """The outputs are chunks: several actions, one `dt` apart.

    Every tensor of `action` is [1, T, A], [T, A], or flat. The groups describe one action of A
    elements. In a group, `relative_to: measured` means the positions at the time of the
    observation. `relative_to: previous_target` means the action before in the same chunk; the
    first one is relative to the measured positions.
    """

    dt: PositiveFloat = Field(description="s between two actions")
    steps: Annotated[int, Field(ge=2, le=MOST_STEPS)] | None = Field(
        None, description="T, needed for a flat output; default: the output's shape"
    )
    observed_index: NonNegativeInt = Field(
        0, description="index of the action that belongs to the time of the observation; default 0"
    )
    n_action_steps: Annotated[int, Field(ge=2)] | None = Field(
        None,
        description="actions that may be played, from observed_index on; default: all of them",
    )
    denormalization: Literal["per_element", "per_step"] = Field(
        "per_element",
        description="statistics of `action`: A numbers for all steps, or [T, A]; default"
        " per_element",
    )
    interpolation: Literal["linear", "cubic"] = Field(
        "linear", description="between two actions; cubic does not overshoot; default linear"
    )
    start: Literal["clock", "restart"] = Field(
        "clock",
        description="after standstill; clock: begin with the action that belongs to now; restart:"
        " with the action of the observation, so the motion lags; default clock",
    )
    seam: Seam = Field(Seam(), description="change from one chunk to the next; default: cross_fade")
    noise: list[NoiseInput] = Field([], description="inputs with noise; default: none")
    denoise: Denoise | None = Field(
        None, description="the model is one step of a flow; default: it returns actions"
    )
    previous: PreviousInput | None = Field(
        None, description="inputs with the older chunk; default: none"
    )
    rtc: RealTimeChunking | None = Field(
        None, description="real-time chunking around `denoise`; default: none"
    )

    @property
    def inputs(self) -> list[tuple[str, TensorName]]:
        """(key, input of the model) that the runner fills by itself."""
        found = [(f"noise[{k}].tensor", one.tensor) for k, one in enumerate(self.noise)]
        if self.denoise is not None:
            found += [("denoise.input", self.denoise.input), ("denoise.time", self.denoise.time)]
        if self.previous is not None:
            found.append(("previous.tensor", self.previous.tensor))
            for key in ("delay", "mask"):
                name = getattr(self.previous, key)
                if name is not None:
                    found.append((f"previous.{key}", name))
        return found
