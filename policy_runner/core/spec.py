"""The policy spec: what the policy was trained on, as the file `policy.yaml` says it.

These models only say which keys there are and what each may hold; `spec_file` reads the
file and adds the checks that look at several keys at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat, PositiveInt

SCHEMA = "policy_runner/1"

Name = Annotated[str, Field(min_length=1)]
Numbers = FiniteFloat | list[FiniteFloat]  # one for all elements, or one per element
Bound = float | None
Range = Annotated[list[Bound], Field(min_length=2, max_length=2)]  # [low, high], null = open
Ranges = Range | list[Range]  # one for all elements, or one per element
Names = Annotated[list[Name], Field(min_length=1)]
JointNumbers = FiniteFloat | list[FiniteFloat] | dict[str, FiniteFloat]


class Strict(BaseModel):
    """Frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(Strict):
    """The ONNX file, relative to the spec's folder."""

    file: Name
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class Input(Strict):
    """A message that the robot delivers: its type and its default topic (remap it as usual)."""

    type: Annotated[str, Field(pattern=r"^\w+/msg/\w+$")]
    topic: Name


class TermArithmetic(Strict):
    """What every term may do after it was read, in this order (`order: scale_clip` swaps two)."""

    name: str | None = None
    wrap: PositiveFloat | None = Field(None, description="period; result in [-period/2, period/2)")
    nonfinite: dict[Literal["nan", "inf", "-inf"], FiniteFloat] | None = None
    clip: Ranges | None = None
    scale: Numbers = 1.0
    offset: Numbers = 0.0
    order: Literal["clip_scale", "scale_clip"] = "clip_scale"


class FieldTerm(TermArithmetic):
    """Numbers of a message by path: `angular_velocity`, `twist.twist.linear.x`, `data[3:7]`."""

    term: Literal["field"]
    input: Name
    field: Name | None = None
    fields: Names | None = None
    size: PositiveInt | None = Field(None, description="needed where the type is not known here")


class VelocityCommandTerm(TermArithmetic):
    """A Twist's or TwistStamped's axes, clamped to the trained range after the dead band."""

    term: Literal["velocity_command"]
    input: Name
    axes: Annotated[
        list[Literal["linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z"]],
        Field(min_length=1),
    ] = ["linear.x", "linear.y", "angular.z"]
    dead_band: Annotated[float, Field(ge=0)] = 0.0


class ProjectedGravityTerm(TermArithmetic):
    """R(q)^T (0, 0, -1), body frame, from the quaternion (ROS order x, y, z, w) at `field`."""

    term: Literal["projected_gravity"]
    input: Name
    field: Name = "orientation"


class JointTerm(TermArithmetic):
    """Joint values by name: position [rad], velocity [rad/s], effort [N m]."""

    term: Literal["joint_position", "joint_velocity", "joint_effort"]
    input: Name
    joints: Names | None = None
    relative_to: Literal["zero", "default_joint_pos"] = "zero"


class LastActionTerm(TermArithmetic):
    """The previous inference's action, of the kind the spec's `last_action` says; 0 at reset."""

    term: Literal["last_action"]
    joints: Names | None = None


class ConstantTerm(TermArithmetic):
    """Numbers that never change."""

    term: Literal["constant"]
    value: Annotated[list[FiniteFloat], Field(min_length=1)]


Term = Annotated[
    FieldTerm
    | VelocityCommandTerm
    | ProjectedGravityTerm
    | JointTerm
    | LastActionTerm
    | ConstantTerm,
    Field(discriminator="term"),
]


class History(Strict):
    """Past frames: per term all its frames (`term`) or whole frames one by one (`frame`)."""

    stack: Literal["term", "frame"]
    order: Literal["oldest_first", "newest_first"]
    length: PositiveInt
    fill: Literal["repeat", "zeros"]


class Normalization(Strict):
    """(x - mean) / (std + eps) or (x - mean) / sqrt(var + eps), then clip. eps is of the model."""

    preset: Literal["sb3", "rsl_rl", "rl_games", "skrl"] | None = None
    statistics: Name | dict[str, list[float]]
    keys: dict[Literal["mean", "std", "var"], Name] = {}
    formula: Literal["mean_std", "mean_var"] | None = None
    eps: Annotated[float, Field(ge=0)] | None = None
    eps_in_sqrt: bool | None = None
    clip: Range | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    on: Literal["frame", "stacked"] | None = None


class ObservationTensor(Strict):
    """One input tensor of the model, built from ordered terms."""

    tensor: Name
    terms: Annotated[list[Term], Field(min_length=1)]
    history: History | None = None
    clip: Range | None = None
    normalization: Normalization | Literal["none", "in_model"]


class State(Strict):
    """Recurrent state: after each inference `output` becomes the next `input`; zeros at reset."""

    input: Name
    output: Name
    initial: Literal["zeros"] = "zeros"


class ActionGroup(Strict):
    """Consecutive elements of one kind: see `action` for the order."""

    kind: Literal["position", "velocity", "effort"]
    joints: Names
    slice: Annotated[list[int], Field(min_length=2, max_length=2)] | None = None
    squash: Literal["none", "tanh"] = "none"
    clip_raw: Ranges | None = None
    scale: JointNumbers = 1.0
    offset: JointNumbers = 0.0
    relative_to: Literal["zero", "default_joint_pos", "previous_target", "measured"] = "zero"
    clip: Ranges | None = None
    ema: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="weight of the new target; 1 = no filter"
    )


class ActionTensor(Strict):
    """One output tensor of the model and what its elements mean."""

    tensor: Name
    groups: Annotated[list[ActionGroup], Field(min_length=1)]
    denormalization: Normalization | None = Field(
        None, description="raw * spread + mean, after clip_raw and before scale"
    )


class PolicySpec(Strict):
    """The whole file."""

    schema_version: Literal["policy_runner/1"] = Field(alias="schema")
    name: Name
    description: str = ""
    model: Model
    control_dt: PositiveFloat = Field(description="s between two inferences in training")
    joint_names: Names
    default_joint_pos: list[FiniteFloat] | None = None
    stiffness: list[FiniteFloat] | None = None
    damping: list[FiniteFloat] | None = None
    inputs: Annotated[Mapping[str, Input], Field(min_length=1)]
    observation: Annotated[list[ObservationTensor], Field(min_length=1)]
    state: list[State] = []
    action: Annotated[list[ActionTensor], Field(min_length=1)]
    ignored_outputs: list[Name] = []
    last_action: Literal["raw", "clipped", "target", "limited"]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `policy.yaml`, for editors."""
    return PolicySpec.model_json_schema(by_alias=True)
