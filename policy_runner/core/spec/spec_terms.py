"""The observation terms of the policy spec: where the numbers of a tensor come from.

`spec_clocks` has those that count, `spec_pictures` images and terms from elsewhere.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, PositiveInt

from policy_runner.core.spec.base import Name, NamedNumbers, Names, Ranges, Strict

Axis = Literal["linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z"]
Axes = Annotated[list[Axis], Field(min_length=1)]


class TermArithmetic(Strict):
    """What every term may do after it was read, in this order (`order: scale_clip` swaps two)."""

    name: str | None = Field(
        None, description="how diagnostics, history and per-term statistics call it; default: term"
    )
    wrap: NamedNumbers | None = Field(
        None, description="period, > 0, in the term's unit; result in [-period/2, period/2); 0: not"
    )
    nonfinite: dict[Literal["nan", "inf", "-inf"], FiniteFloat] | None = Field(
        None, description="numbers in place of NaN, inf and -inf; default: a fault"
    )
    clip: Ranges | None = Field(None, description="[low, high], null is open; default: none")
    scale: NamedNumbers = Field(1.0, description="factor, 0 allowed; default 1")
    offset: NamedNumbers = Field(0.0, description="added last; default 0")
    order: Literal["clip_scale", "scale_clip"] = Field(
        "clip_scale", description="which of clip and scale is first; default clip_scale"
    )


class Pool(Strict):
    """A sequence of any length made into `bins` numbers: bin k of n elements is [kn/bins, ...)."""

    bins: PositiveInt = Field(description="how many numbers the term has")
    by: Literal["min", "max", "mean"] = Field("min", description="default min")


class FieldTerm(TermArithmetic):
    """Numbers of a message by path: `angular_velocity`, `twist.twist.linear.x`, `data[3:7]`."""

    term: Literal["field"]
    input: Name = Field(description="a name of `inputs`")
    field: Name | None = Field(None, description="one path, with an optional slice [first:last]")
    fields: Names | None = Field(None, description="several paths, one after the other")
    size: PositiveInt | None = Field(None, description="needed where the type is not known here")
    pool: Pool | None = Field(
        None, description="for a sequence such as `ranges`: `nonfinite` is applied before it"
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
        ["roll", "pitch", "yaw"], description="which, in which order; default roll, pitch, yaw"
    )


class HeadingTerm(TermArithmetic):
    """Sine and cosine of the yaw, as in euler_angles."""

    term: Literal["heading"]
    input: Name = Field(description="a name of `inputs`")
    field: Name = Field("orientation", description="path of the quaternion; default orientation")
    parts: Annotated[list[Literal["sin", "cos"]], Field(min_length=1)] = Field(
        ["sin", "cos"], description="which, in which order; default sin, cos"
    )


class Rotation6dTerm(TermArithmetic):
    """The first two columns of R(q), body -> world, or of its transpose."""

    term: Literal["rotation_6d"]
    input: Name = Field(description="a name of `inputs`")
    field: Name = Field("orientation", description="path of the quaternion; default orientation")
    layout: Literal["rows", "columns"] = Field(
        description="rows: R00 R01 R10 R11 R20 R21; columns: R00 R10 R20 R01 R11 R21"
    )
    inverse: bool = Field(False, description="of the transpose, world -> body; default false")


class QuaternionTerm(TermArithmetic):
    """A unit quaternion, body -> world."""

    term: Literal["quaternion"]
    input: Name = Field(description="a name of `inputs`")
    field: Name = Field("orientation", description="path of the quaternion; default orientation")
    layout: Literal["xyzw", "wxyz"] = Field(description="order of the four numbers")
    positive_w: bool = Field(False, description="the one of q and -q with w >= 0; default false")


class PoseSource(Strict):
    """A pose in the common world frame."""

    input: Name = Field(description="a name of `inputs`")
    field: Name = Field("pose", description="path of a geometry_msgs/Pose; default pose")


class PoseInFrameTerm(TermArithmetic):
    """The pose of one thing in the frame of another, both known in one world frame."""

    term: Literal["pose_in_frame"]
    pose: PoseSource = Field(description="A: what is looked at")
    frame: PoseSource = Field(description="B: where it is looked at from")
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
        description="what is subtracted: nothing, the spec's default_joint_pos, the previous"
        " inference's target of the same kind (before the first default_joint_pos, or 0), or these"
        " numbers",
    )


class LastActionTerm(TermArithmetic):
    """The previous inference's action, of the kind the spec's `last_action` says; 0 at reset."""

    term: Literal["last_action"]
    joints: Names | None = Field(
        None, description="joints, axes or elements of the action, in this order; default: all"
    )


class ConstantTerm(TermArithmetic):
    """Numbers that never change."""

    term: Literal["constant"]
    value: Annotated[list[FiniteFloat], Field(min_length=1)] = Field(description="the numbers")
