"""Terms of two poses: one in the other's frame, their rotation, their difference."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, NonNegativeInt

from policy_runner.core.spec.base import Name, Strict, TermArithmetic

Three = Annotated[list[FiniteFloat], Field(min_length=3, max_length=3)]
Four = Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)]


class Offset(Strict):
    """A constant pose: a position, and a rotation by `rpy` or by `quaternion`."""

    position: Three = Field([0.0, 0.0, 0.0], description="x, y, z, m; default 0, 0, 0")
    rpy: Three | None = Field(
        None, description="roll, pitch, yaw, rad: Rz(yaw) Ry(pitch) Rx(roll), as in a URDF"
    )
    quaternion: Four | None = Field(None, description="x, y, z, w, instead of rpy; default: none")


class ChainLink(Strict):
    """One joint between the measured body and the wanted one."""

    joint: Name = Field(description="a joint of joint_names")
    axis: Literal["x", "y", "z"] | Three = Field(
        description="rotation axis of the joint, in the joint's frame"
    )
    origin: Offset | None = Field(
        None, description="the joint's frame in the body before it, as in a URDF; default: equal"
    )


class OrientationSource(Strict):
    """An orientation in the common world frame."""

    input: Name = Field(description="a name of `inputs`")
    field: Name = Field("orientation", description="path of the quaternion; default orientation")


class PoseSource(Strict):
    """A pose in the common world frame: world_offset * measured pose * chain * offset."""

    input: Name | None = Field(None, description="a name of `inputs`; this or `motion` is needed")
    motion: Name | None = Field(
        None, description="a name of `motions`: the pose of `body` in its current row"
    )
    body: Name | None = Field(None, description="a body of the motion")
    row: NonNegativeInt = Field(0, description="rows after the motion's current one; default 0")
    field: Name = Field(
        "pose",
        description="path of a Pose or Transform; where only one half is needed, also of a"
        " quaternion or of a point; default pose",
    )
    orientation: OrientationSource | None = Field(
        None, description="orientation from another message; default: the one of `field`"
    )
    world_offset: Offset | None = Field(
        None, description="multiplied from the left, in the world's axes; default: none"
    )
    offset: Offset | None = Field(
        None, description="multiplied from the right, in the body's axes; default: none"
    )
    chain: list[ChainLink] = Field(
        [], description="joints from the measured body to the wanted one, in order; default: none"
    )
    joints_input: Name | None = Field(None, description="the JointState for `chain`")


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


RotationPart = Literal[
    "quaternion_xyzw", "quaternion_wxyz", "rotation_6d_rows", "rotation_6d_columns", "two_rows",
    "matrix", "row_0", "row_1", "row_2", "column_0", "column_1", "column_2",
    "rotation_vector", "roll", "pitch", "yaw",
]  # fmt: skip


class RelativeRotationTerm(TermArithmetic):
    """The rotation between two orientations A and B, body -> world."""

    term: Literal["relative_rotation"]
    a: PoseSource = Field(description="orientation A")
    b: PoseSource = Field(description="orientation B")
    product: Literal["a_b_inverse", "b_inverse_a"] = Field(
        description="a_b_inverse: R_A R_B^T, in the world's axes; b_inverse_a: R_B^T R_A, A seen"
        " from B"
    )
    parts: Annotated[list[RotationPart], Field(min_length=1)] = Field(
        description="numbers of the product R, in this order. rotation_6d_rows: R00 R01 R10 R11"
        " R20 R21; rotation_6d_columns: R00 R10 R20 R01 R11 R21; two_rows: R00 R01 R02 R10 R11"
        " R12; matrix: all nine by rows; rotation_vector: axis times angle, rad"
    )
    positive_w: bool = Field(True, description="quaternion with w >= 0; default true")


class PositionDifferenceTerm(TermArithmetic):
    """Position of A minus position of B, m."""

    term: Literal["position_difference"]
    a: PoseSource = Field(description="position A")
    b: PoseSource = Field(description="position B")
    axes: Literal["world", "a", "b", "frame", "a_yaw", "b_yaw", "frame_yaw"] = Field(
        description="axes of the numbers: the world's, or those of A, B or `frame`; _yaw: turned"
        " only by its yaw"
    )
    frame: PoseSource | None = Field(
        None, description="orientation of a third body for `axes`; default: none"
    )
    parts: Annotated[list[Literal["x", "y", "z"]], Field(min_length=1)] = Field(
        ["x", "y", "z"], description="numbers in this order; default x, y, z"
    )
