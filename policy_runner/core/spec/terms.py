"""Terms of the policy spec that count: they advance once per inference, and reset with it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveFloat

from policy_runner.core.spec.base import Name, Names, Sha256, Strict
from policy_runner.core.spec.spec_terms import Axes, TermArithmetic


class PhaseHold(Strict):
    """A clock that stands still while the robot is told to."""

    input: Name = Field(description="a Twist or TwistStamped of `inputs`")
    axes: Axes = Field(
        ["linear.x", "linear.y", "angular.z"],
        description="of which the Euclidean norm is taken; default linear.x, linear.y, angular.z",
    )
    below: PositiveFloat = Field(description="the clock is held while the norm is below this")
    at: FiniteFloat | list[FiniteFloat] | None = Field(
        None,
        description="what every clock shows meanwhile, cycles; default: where it stands. The"
        " clock itself does not advance",
    )


class PhaseClockTerm(TermArithmetic):
    """sin and cos of 2 pi (start + k control_dt / period + offset), k inferences since reset."""

    term: Literal["phase_clock"]
    period: PositiveFloat = Field(description="s")
    offsets: Annotated[list[FiniteFloat], Field(min_length=1)] = Field(
        [0.0], description="one clock each, cycles; default one clock at 0"
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
    """Inferences since reset: `start` for `delay` of them and the first after, then + 1 each."""

    term: Literal["step_counter"]
    start: FiniteFloat = Field(0.0, description="value at reset; default 0")
    delay: NonNegativeInt = Field(0, description="inferences that it stays at start; default 0")
    last: FiniteFloat | None = Field(None, description="largest value; default: none")
    end: Literal["hold", "loop"] = Field(
        "hold", description="at `last`: stay, or go on with start; default hold"
    )


class FirstStepTerm(TermArithmetic):
    """1 at the first inference after a reset, 0 at every other."""

    term: Literal["first_step"]


class Motion(Strict):
    """A table of reference rows, one per inference, from `start` on."""

    file: Name = Field(description=".npz or .csv in the spec's folder")
    sha256: Sha256 | None = Field(None, description="of the file; default: not checked")
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
    delay: NonNegativeInt = Field(0, description="inferences that stay at the first row; default 0")
    end: Literal["hold", "loop", "stop"] = Field(
        description="after the last row: stay there, go back to start, or stop the policy (HOLD)"
    )


class MotionTerm(TermArithmetic):
    """The present row of a reference motion, joints by name."""

    term: Literal["motion"]
    motion: Name = Field(description="a name of `motions`")
    values: Annotated[list[Literal["joint_position", "joint_velocity"]], Field(min_length=1)] = (
        Field(["joint_position"], description="rad, rad/s; all joints of the first, then the next")
    )
    joints: Names | None = Field(None, description="in this order; default: all of joint_names")


class ChainLink(Strict):
    """One joint between the measured body and the wanted one."""

    joint: Name = Field(description="a joint of joint_names")
    axis: Literal["x", "y", "z"] = Field(description="it turns about")


class MotionOrientationTerm(TermArithmetic):
    """First two columns of R(robot)^T R(reference): how the reference looks from the robot."""

    term: Literal["motion_orientation"]
    motion: Name = Field(description="a name of `motions`")
    body: Name = Field(description="whose orientation in the table, a name of its bodies")
    input: Name = Field(description="where the robot's orientation comes from")
    field: Name = Field("orientation", description="path of the quaternion; default orientation")
    chain: list[ChainLink] = Field(
        [], description="joints from the measured body to `body`, in order; default: none"
    )
    joints_input: Name | None = Field(None, description="the JointState for `chain`")
    align: Literal["none", "yaw"] = Field(
        description="yaw: the reference is turned to the robot's yaw at the first inference"
    )
    layout: Literal["rows", "columns"] = Field(
        description="rows: R00 R01 R10 R11 R20 R21; columns: R00 R10 R20 R01 R11 R21"
    )
