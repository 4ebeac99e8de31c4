"""Reference motions and the terms that read them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat

from policy_runner.core.spec.base import Name, Names, Sha256, Strict, TermArithmetic
from policy_runner.core.spec.relation_terms import ChainLink


class MotionTrigger(Strict):
    """Lets a Bool start or pause a motion."""

    input: Name = Field(description="a std_msgs/Bool of `inputs`")
    mode: Literal["start", "run"] = Field(
        description="start: it waits at its first row, and starts whenever the Bool becomes true;"
        " run: it moves only while the Bool is true"
    )


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
    speed: PositiveFloat = Field(
        1.0,
        description="rows per inference; between two rows numbers are linear, rotations spherical;"
        " velocities are not scaled; default 1",
    )
    trigger: MotionTrigger | None = Field(
        None, description="start or pause by a topic; default: it starts at the first inference"
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
    rows: Annotated[list[NonNegativeInt], Field(min_length=1)] = Field(
        [0], description="rows after the current one, 0 is the current; default 0"
    )
    layout: Literal["by_row", "by_value"] = Field(
        "by_row",
        description="by_row: all values of the first row, then of the next; by_value: the first"
        " value of all rows, then the next; default by_row",
    )


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
