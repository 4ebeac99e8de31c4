"""The observation terms of the policy spec: the sources of a tensor's numbers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, PositiveFloat, PositiveInt

from policy_runner.core.spec.base import (
    Name,
    NamedNumbers,
    Names,
    Range,
    SmallSignal,
    Strict,
    TermArithmetic,
)
from policy_runner.core.spec.command_terms import (
    FirstStepTerm,
    IntegratedCommandTerm,
    JoyCommandTerm,
    PhaseClockTerm,
    StepCounterTerm,
    VelocityCommandTerm,
)
from policy_runner.core.spec.motion_terms import MotionOrientationTerm, MotionTerm
from policy_runner.core.spec.relation_terms import (
    PoseInFrameTerm,
    PositionDifferenceTerm,
    RelativeRotationTerm,
)


class Pool(Strict):
    """Reduces n elements to `bins` numbers: bin k is [k n / bins, (k + 1) n / bins)."""

    bins: PositiveInt = Field(description="count of numbers of the term")
    by: Literal["min", "max", "mean"] = Field("min", description="default min")


class ZeroNumbers(Strict):
    """Numbers of a field that are 0 while all of its conditions hold."""

    elements: Names = Field(description="numbers of the term that become 0, by path")
    when: Annotated[list[SmallSignal], Field(min_length=1)] = Field(
        description="conditions; all of them must hold"
    )


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
    no_return: FiniteFloat | None = Field(
        None,
        description="number that replaces exactly 0, of a range finder that got nothing back;"
        " before pooling; default: 0 stays",
    )
    zero: list[ZeroNumbers] = Field(
        [], description="numbers that are 0 while other signals are small; default: none"
    )
    pool: Pool | None = Field(
        None, description="for a sequence such as `ranges`: `nonfinite` is applied before pooling"
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


Side = Annotated[PositiveInt, Field(le=4096)]  # pixels
PerChannel = FiniteFloat | list[FiniteFloat]
PositivePerChannel = PositiveFloat | list[PositiveFloat]


class ImageTerm(Strict):
    """Pixels of an Image or CompressedImage: crop -> depth -> resize -> (x * scale - mean) / std.

    Compressed images and the filters without a prefix need Pillow (the extra `images`).
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
    depth_unit: Literal["m", "mm"] | None = Field(
        None,
        description="unit of a depth image's numbers: 16UC1 and mono16 are mm, 32FC1 is m; default:"
        " as the message has them",
    )
    nonfinite: dict[Literal["nan", "inf", "-inf"], FiniteFloat] | None = Field(
        None,
        description="for depth: numbers that replace NaN, inf and -inf before resizing; default: a"
        " fault",
    )
    holes: FiniteFloat | None = Field(
        None,
        description="for depth: number that replaces 0, which means no measurement, before"
        " resizing; default: 0 stays",
    )
    clip: Range | None = Field(
        None, description="for depth: [low, high] before resizing, null is open; default: none"
    )
    resize: Literal[
        "nearest", "bilinear", "bicubic", "area",
        "cv2_nearest", "cv2_linear", "cv2_cubic", "cv2_area", "cv2_lanczos4",
        "torch_nearest", "torch_bilinear", "torch_bilinear_antialias", "torch_bilinear_aligned",
        "refuse",
    ] = Field(
        "refuse",
        description="filter for resizing to `size`: Pillow's, OpenCV's through cv2 (the extra"
        " `opencv`), or torch's on floats; default: another size is a fault",
    )  # fmt: skip
    layout: Literal["chw", "hwc"] = Field(description="channels first or last")
    scale: PerChannel = Field(description="factor, e.g. 0.00392156862745098 for 1/255")
    mean: PerChannel = Field(0.0, description="subtracted after scale, per channel; default 0")
    std: PositivePerChannel = Field(1.0, description="divisor after mean, per channel; default 1")


class OccupancyGridTerm(TermArithmetic):
    """Cells of a nav_msgs/OccupancyGrid, 0 free to 100 occupied, in the order of the message.

    Size, resolution, frame, origin and range of the cells are checked in every message.
    """

    term: Literal["occupancy_grid"]
    input: Name = Field(description="an OccupancyGrid of `inputs`")
    size: Annotated[list[Side], Field(min_length=2, max_length=2)] = Field(
        description="[rows, columns]: the message's height and width, cells; another size is a"
        " fault"
    )
    resolution: PositiveFloat = Field(description="m per cell; another one is a fault")
    frame: Name = Field(description="frame_id of the header; another one is a fault")
    origin: Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)] | Literal["any"] = (
        Field(
            description="x and y of the corner of the first cell in `frame`, m: further away than a"
            " tenth of a cell, or turned, is a fault; any: not checked"
        )
    )
    unknown: FiniteFloat | Literal["refuse"] = Field(
        description="number that replaces the -1 of an unknown cell, before clip, scale and offset;"
        " refuse: an unknown cell is a fault"
    )


class TextTerm(Strict):
    """A text, such as the instruction of a policy: its bytes in UTF-8, and zeros after them.

    The input's newest message, or the runner's parameter `prompt`, whichever is newer. It is valid
    until the next one. Without a text, or with an empty one, the policy does not run.
    """

    term: Literal["text"]
    name: str | None = Field(None, description="default: text")
    input: Name = Field(
        description="a std_msgs/msg/String of `inputs`; the topic `~/prompt` is usual"
    )
    size: Annotated[PositiveInt, Field(le=65_536)] = Field(
        description="count of numbers; a text of more bytes is refused, and the old one stays"
    )


class CustomTerm(TermArithmetic):
    """A term from an installed package's entry point in the group `policy_runner.terms`."""

    term: Literal["custom"]
    uses: Name = Field(description="name of the entry point")
    parameters: dict[str, Any] = Field({}, description="passed to the term unchanged")


# To add a term, add a model above, its name here, and a function in `core/observation/terms`.
Term = Annotated[
    FieldTerm
    | VelocityCommandTerm
    | IntegratedCommandTerm
    | JoyCommandTerm
    | ProjectedGravityTerm
    | EulerAnglesTerm
    | HeadingTerm
    | Rotation6dTerm
    | QuaternionTerm
    | PoseInFrameTerm
    | RelativeRotationTerm
    | PositionDifferenceTerm
    | JointTerm
    | LastActionTerm
    | ConstantTerm
    | PhaseClockTerm
    | StepCounterTerm
    | FirstStepTerm
    | MotionTerm
    | MotionOrientationTerm
    | ImageTerm
    | OccupancyGridTerm
    | TextTerm
    | CustomTerm,
    Field(discriminator="term"),
]
