"""The observation terms of the policy spec: the sources of a tensor's numbers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveFloat, PositiveInt

from policy_runner.core.spec.base import Name, NamedNumbers, Names, Ranges, Sha256, Strict

Axis = Literal["linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z"]
Axes = Annotated[list[Axis], Field(min_length=1)]


class TermArithmetic(Strict):
    """Arithmetic on a term after reading, in this order; `order` can swap clip and scale."""

    name: str | None = Field(
        None, description="name in diagnostics, history and per-term statistics; default: term"
    )
    wrap: NamedNumbers | None = Field(
        None, description="period > 0, term's unit; result in [-period/2, period/2); 0: no wrap"
    )
    nonfinite: dict[Literal["nan", "inf", "-inf"], FiniteFloat] | None = Field(
        None, description="numbers that replace NaN, inf and -inf; default: a fault"
    )
    clip: Ranges | None = Field(None, description="[low, high], null is open; default: none")
    scale: NamedNumbers = Field(1.0, description="factor, 0 allowed; default 1")
    offset: NamedNumbers = Field(0.0, description="added last; default 0")
    order: Literal["clip_scale", "scale_clip"] = Field(
        "clip_scale", description="which of clip and scale is first; default clip_scale"
    )


class Pool(Strict):
    """Reduces n elements to `bins` numbers: bin k is [k n / bins, (k + 1) n / bins)."""

    bins: PositiveInt = Field(description="count of numbers of the term")
    by: Literal["min", "max", "mean"] = Field("min", description="default min")


class FieldTerm(TermArithmetic):
    """Numbers of a message by path: `angular_velocity`, `data[3:7]`, `motor_cmd[3].q`."""

    term: Literal["field"]
    input: Name = Field(description="a name of `inputs`")
    field: Name | None = Field(
        None, description="one path, with an optional [index] or [first:last]"
    )
    fields: Names | None = Field(None, description="several paths, one after the other")
    size: PositiveInt | None = Field(
        None,
        description="needed if the runner does not list the type; messages with more or fewer"
        " numbers are refused",
    )
    pool: Pool | None = Field(
        None, description="for a sequence such as `ranges`: `nonfinite` is applied before pooling"
    )


class VelocityCommandTerm(TermArithmetic):
    """A Twist's or TwistStamped's axes, clamped to the trained range after the dead band."""

    term: Literal["velocity_command"]
    input: Name = Field(description="a Twist or TwistStamped of `inputs`")
    axes: Axes = Field(
        ["linear.x", "linear.y", "angular.z"],
        description="m/s and rad/s, body frame; default: linear.x, linear.y, angular.z",
    )
    dead_band: NamedNumbers = Field(
        0.0, description="smaller magnitudes become 0, m/s or rad/s; default 0"
    )
    range: Ranges | None = Field(
        None, description="trained range, m/s or rad/s: clamped before clip, scale and offset"
    )


class ProjectedGravityTerm(TermArithmetic):
    """R(q)^T (0, 0, -1), body frame, from the quaternion (ROS order x, y, z, w) at `field`."""

    term: Literal["projected_gravity"]
    input: Name = Field(description="a name of `inputs`")
    field: Name = Field("orientation", description="path of the quaternion; default orientation")


class EulerAnglesTerm(TermArithmetic):
    """Angles of R = Rz(yaw) Ry(pitch) Rx(roll), rad, roll and yaw in (-pi, pi]."""

    term: Literal["euler_angles"]
    input: Name = Field(description="a name of `inputs`")
    field: Name = Field("orientation", description="path of the quaternion; default orientation")
    angles: Annotated[list[Literal["roll", "pitch", "yaw"]], Field(min_length=1)] = Field(
        ["roll", "pitch", "yaw"], description="angles in this order; default roll, pitch, yaw"
    )


class HeadingTerm(TermArithmetic):
    """Sine and cosine of the yaw of euler_angles."""

    term: Literal["heading"]
    input: Name = Field(description="a name of `inputs`")
    field: Name = Field("orientation", description="path of the quaternion; default orientation")
    parts: Annotated[list[Literal["sin", "cos"]], Field(min_length=1)] = Field(
        ["sin", "cos"], description="parts in this order; default sin, cos"
    )


class Rotation6dTerm(TermArithmetic):
    """The first two columns of R(q), body -> world, or of its transpose."""

    term: Literal["rotation_6d"]
    input: Name = Field(description="a name of `inputs`")
    field: Name = Field("orientation", description="path of the quaternion; default orientation")
    layout: Literal["rows", "columns"] = Field(
        description="rows: R00 R01 R10 R11 R20 R21; columns: R00 R10 R20 R01 R11 R21"
    )
    inverse: bool = Field(False, description="use the transpose, world -> body; default false")


class QuaternionTerm(TermArithmetic):
    """A unit quaternion, body -> world."""

    term: Literal["quaternion"]
    input: Name = Field(description="a name of `inputs`")
    field: Name = Field("orientation", description="path of the quaternion; default orientation")
    layout: Literal["xyzw", "wxyz"] = Field(description="order of the four numbers")
    positive_w: bool = Field(False, description="take q or -q so that w >= 0; default false")


class PoseSource(Strict):
    """A pose in the common world frame."""

    input: Name = Field(description="a name of `inputs`")
    field: Name = Field("pose", description="path of a geometry_msgs/Pose; default pose")


class PoseInFrameTerm(TermArithmetic):
    """The pose of A in the frame of B; both poses are known in one world frame."""

    term: Literal["pose_in_frame"]
    pose: PoseSource = Field(description="pose of A")
    frame: PoseSource = Field(description="pose of B")
    parts: Annotated[
        list[Literal["position", "position_xy", "quaternion_xyzw", "quaternion_wxyz", "yaw"]],
        Field(min_length=1),
    ] = Field(
        ["position", "quaternion_xyzw"],
        description="m, unit quaternion (w >= 0), rad; default position, quaternion_xyzw",
    )


class JointTerm(TermArithmetic):
    """Joint values by name: position [rad], velocity [rad/s], effort [N m]."""

    term: Literal["joint_position", "joint_velocity", "joint_effort"]
    input: Name = Field(description="a JointState of `inputs`")
    joints: Names | None = Field(None, description="in this order; default: all of joint_names")
    relative_to: Literal["zero", "default_joint_pos", "previous_target"] | NamedNumbers = Field(
        "zero",
        description="subtracted value: nothing, the spec's default_joint_pos, the previous"
        " inference's target of the same kind (at first: default_joint_pos, or 0), or these"
        " numbers",
    )


class LastActionTerm(TermArithmetic):
    """The previous inference's action, as the spec's `last_action` selects; 0 after a reset."""

    term: Literal["last_action"]
    joints: Names | None = Field(
        None, description="joints, axes or elements of the action, in this order; default: all"
    )


class ConstantTerm(TermArithmetic):
    """Numbers that never change."""

    term: Literal["constant"]
    value: Annotated[list[FiniteFloat], Field(min_length=1)] = Field(description="the numbers")


class PhaseHold(Strict):
    """Holds the clock while the commanded velocity is small."""

    input: Name = Field(description="a Twist or TwistStamped of `inputs`")
    axes: Axes = Field(
        ["linear.x", "linear.y", "angular.z"],
        description="axes of the Euclidean norm; default linear.x, linear.y, angular.z",
    )
    below: PositiveFloat = Field(description="the clock is held while the norm is below this")
    at: FiniteFloat | list[FiniteFloat] | None = Field(
        None,
        description="phase of every clock while it is held, cycles; default: its last phase. The"
        " clock does not advance",
    )


class PhaseClockTerm(TermArithmetic):
    """sin and cos of 2 pi (start + k control_dt / period + offset), k inferences since reset."""

    term: Literal["phase_clock"]
    period: PositiveFloat = Field(description="period of the clock, s")
    offsets: Annotated[list[FiniteFloat], Field(min_length=1)] = Field(
        [0.0], description="offset of each clock, cycles; default one clock at 0"
    )
    start: FiniteFloat = Field(0.0, description="phase of the first inference, cycles; default 0")
    parts: Annotated[list[Literal["sin", "cos", "phase"]], Field(min_length=1)] = Field(
        ["sin", "cos"], description="phase: in cycles, [0, 1); default sin, cos"
    )
    layout: Literal["by_part", "by_clock"] = Field(
        "by_part", description="by_part: sin of all clocks, then cos; by_clock: sin cos of each"
    )
    hold: PhaseHold | None = Field(None, description="default: never held")


class StepCounterTerm(TermArithmetic):
    """Inferences since reset: `start` for `delay` + 1 inferences, then + 1 per inference."""

    term: Literal["step_counter"]
    start: FiniteFloat = Field(0.0, description="value at reset; default 0")
    delay: NonNegativeInt = Field(0, description="additional inferences at start; default 0")
    last: FiniteFloat | None = Field(None, description="largest value; default: none")
    end: Literal["hold", "loop"] = Field(
        "hold", description="after `last`: stay there, or continue with start; default hold"
    )


class FirstStepTerm(TermArithmetic):
    """1 at the first inference after a reset, 0 at all others."""

    term: Literal["first_step"]


class Motion(Strict):
    """A table of reference rows, one per inference, from `start` on."""

    file: Name = Field(description=".npz or .csv in the spec's folder")
    sha256: Sha256 | None = Field(None, description="checksum of the file; default: not checked")
    joint_names: Names | None = Field(
        None, description="columns of an .npz; default: its array `joint_names`"
    )
    body_names: Names | None = Field(
        None, description="bodies of an .npz; default: its array `body_names`"
    )
    quaternion: Literal["wxyz", "xyzw"] = Field(
        "wxyz", description="order of the table's quaternions; default wxyz"
    )
    dt: PositiveFloat | None = Field(
        None, description="s between rows; default: 1 / the file's `fps`; must be control_dt"
    )
    start: NonNegativeInt = Field(0, description="first row; default 0")
    delay: NonNegativeInt = Field(
        0, description="additional inferences at the first row; default 0"
    )
    end: Literal["hold", "loop", "stop"] = Field(
        description="after the last row: stay there, go back to start, or stop the policy (HOLD)"
    )


class MotionTerm(TermArithmetic):
    """The current row of a reference motion, joints by name."""

    term: Literal["motion"]
    motion: Name = Field(description="a name of `motions`")
    values: Annotated[list[Literal["joint_position", "joint_velocity"]], Field(min_length=1)] = (
        Field(["joint_position"], description="rad, rad/s; all joints of the first, then the next")
    )
    joints: Names | None = Field(None, description="in this order; default: all of joint_names")


class ChainLink(Strict):
    """One joint between the measured body and `body`."""

    joint: Name = Field(description="a joint of joint_names")
    axis: Literal["x", "y", "z"] = Field(description="rotation axis of the joint")


class MotionOrientationTerm(TermArithmetic):
    """First two columns of R(robot)^T R(reference): the reference in the robot's frame."""

    term: Literal["motion_orientation"]
    motion: Name = Field(description="a name of `motions`")
    body: Name = Field(description="body in the table that gives the reference's orientation")
    input: Name = Field(description="a name of `inputs` that gives the robot's orientation")
    field: Name = Field("orientation", description="path of the quaternion; default orientation")
    chain: list[ChainLink] = Field(
        [], description="joints from the measured body to `body`, in order; default: none"
    )
    joints_input: Name | None = Field(None, description="the JointState for `chain`")
    align: Literal["none", "yaw"] = Field(
        description="yaw: the reference is rotated to the robot's yaw at the first inference"
    )
    layout: Literal["rows", "columns"] = Field(
        description="rows: R00 R01 R10 R11 R20 R21; columns: R00 R10 R20 R01 R11 R21"
    )


Side = Annotated[PositiveInt, Field(le=4096)]  # pixels
PerChannel = FiniteFloat | list[FiniteFloat]
PositivePerChannel = PositiveFloat | list[PositiveFloat]


class ImageTerm(Strict):
    """Pixels of an Image or CompressedImage: crop -> resize -> (x * scale - mean) / std.

    Needs Pillow (the extra `images`), except for an uncompressed image that is not resized.
    """

    term: Literal["image"]
    name: str | None = Field(None, description="default: image")
    input: Name = Field(description="an Image or CompressedImage of `inputs`")
    color: Literal["rgb", "bgr", "gray", "depth"] = Field(
        description="channels of the policy, in this order; depth: one, as the message has it"
    )
    size: Annotated[list[Side], Field(min_length=2, max_length=2)] = Field(
        description="[height, width] of the policy, pixels"
    )
    crop: Annotated[list[int], Field(min_length=4, max_length=4)] | None = Field(
        None, description="[top, left, height, width] of the message's pixels; default: all"
    )
    resize: Literal["nearest", "bilinear", "bicubic", "area", "refuse"] = Field(
        "refuse", description="filter for resizing to `size`; default: another size is a fault"
    )
    layout: Literal["chw", "hwc"] = Field(description="channels first or last")
    scale: PerChannel = Field(description="factor, e.g. 0.00392156862745098 for 1/255")
    mean: PerChannel = Field(0.0, description="subtracted after scale, per channel; default 0")
    std: PositivePerChannel = Field(1.0, description="divisor after mean, per channel; default 1")


class CustomTerm(TermArithmetic):
    """A term from an installed package's entry point in the group `policy_runner.terms`."""

    term: Literal["custom"]
    uses: Name = Field(description="name of the entry point")
    parameters: dict[str, Any] = Field({}, description="passed to the term unchanged")


# To add a term, add a model above, its name here, and a function in `core/observation/terms`.
Term = Annotated[
    FieldTerm
    | VelocityCommandTerm
    | ProjectedGravityTerm
    | EulerAnglesTerm
    | HeadingTerm
    | Rotation6dTerm
    | QuaternionTerm
    | PoseInFrameTerm
    | JointTerm
    | LastActionTerm
    | ConstantTerm
    | PhaseClockTerm
    | StepCounterTerm
    | FirstStepTerm
    | MotionTerm
    | MotionOrientationTerm
    | ImageTerm
    | CustomTerm,
    Field(discriminator="term"),
]
