"""The keys of `robot.yaml`. Numbers of joints and geoms are given by name or by pattern.

Such a mapping may leave joints out: they keep the value of the MJCF or URDF.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, NonNegativeFloat, PositiveFloat

from policy_runner.core.spec.base import Name, Names, Strict
from policy_runner.sim.robot_file.sensor_keys import Gravity, Sensor, usual_sensors

SCHEMA = "policy_runner_robot/1"
Positive = PositiveFloat | dict[str, PositiveFloat]
NotNegative = NonNegativeFloat | dict[str, NonNegativeFloat]
Count = Annotated[int, Field(ge=1, le=1000, strict=True)]
Point = Annotated[list[FiniteFloat], Field(min_length=3, max_length=3)]


class ModelFile(Strict):
    """The MJCF or URDF."""

    file: Name = Field(description="MJCF or URDF, in the folder of this file or below it")
    meshes: bool = Field(
        True, description="false: remove all meshes, and read no mesh file; primitive geoms stay"
    )
    floating: bool | None = Field(
        None,
        description="true: add a free joint to the base, as for a URDF of a mobile robot; "
        "default: as in the model",
    )


class Physics(Strict):
    """Options of the physics; default: those of the model."""

    timestep: PositiveFloat | None = Field(None, description="one physics step [s]")
    integrator: Literal["Euler", "RK4", "implicit", "implicitfast"] | None = Field(
        None, description="implicitfast is stable with damping and stiff gains"
    )
    iterations: Count | None = Field(None, description="most iterations of the solver")
    ls_iterations: Count | None = Field(None, description="most steps of a line search")
    cone: Literal["pyramidal", "elliptic"] | None = Field(None, description="friction cone")
    impratio: PositiveFloat | None = Field(
        None, description="stiffness of friction relative to that of normal forces"
    )
    gravity: Gravity | None = Field(None, description="[m/s^2], world frame")


class Ground(Strict):
    """The floor: an infinite plane at height 0."""

    add: bool | None = Field(
        None, description="add a plane; default: only if the world has no geom"
    )
    friction: NonNegativeFloat = Field(1.0, description="sliding friction of an added plane")


class Start(Strict):
    """The state after a reset. Velocities are 0."""

    keyframe: Name | None = Field(None, description="keyframe of the model to start from")
    position: Point | None = Field(None, description="of the base in the world [m]")
    height: FiniteFloat | None = Field(None, description="z of the base [m]; not with `position`")
    joints: dict[str, FiniteFloat] | None = Field(
        None,
        description="joint positions [rad] or [m]; default: the policy's default pose, or, with "
        "`keyframe`, the keyframe's",
    )
    joint_spread: NonNegativeFloat = Field(
        0.0, description="a reset adds a uniform random number within +-this [rad] to each joint"
    )
    tilt_spread: NonNegativeFloat = Field(
        0.0, description="a reset adds a random roll and pitch within +-this [rad]"
    )


class Joints(Strict):
    """Properties of hinges and slides that the model lacks."""

    armature: NotNegative | None = Field(
        None, description="inertia of the motor's rotor at the joint [kg m^2]"
    )
    damping: NotNegative | None = Field(None, description="passive damping [N m s/rad]")
    frictionloss: NotNegative | None = Field(None, description="dry friction [N m]")
    effort_limit: Positive | None = Field(
        None, description="largest effort of the joint's motor, +- [N m] or [N]"
    )


class Actuators(Strict):
    """How a command becomes a torque."""

    source: Literal["auto", "file", "own"] = Field(
        "auto",
        description="own: replace the model's actuators by one per joint, which takes every kind "
        "of command; file: only those of the model; auto: those of the model, and an own one for "
        "each joint if the model has none",
    )
    stiffness: NotNegative | None = Field(
        None, description="of a position command [N m/rad]; default: the policy's"
    )
    damping: NotNegative | None = Field(
        None,
        description="of a position or velocity command [N m s/rad]; default: the policy's",
    )


class Contact(Strict):
    """Contact properties of geoms, such as feet."""

    geoms: Names = Field(description="geoms, by name or pattern")
    friction: NonNegativeFloat | None = Field(None, description="sliding friction")
    condim: Literal[1, 3, 4, 6] | None = Field(None, description="dimension of the contact")
    priority: int | None = Field(
        None, description="the contact uses the properties of the geom with the higher priority"
    )


class DifferentialDrive(Strict):
    """A twist command turns wheels: (v -+ w track / 2) / wheel_radius, left and right."""

    drive: Literal["differential"]
    left: dict[str, Literal[-1, 1]] = Field(
        description="left wheel joint -> 1, or -1 if its axis points to the right"
    )
    right: dict[str, Literal[-1, 1]] = Field(description="right wheel joint -> 1 or -1")
    wheel_radius: PositiveFloat = Field(description="[m]")
    track: PositiveFloat = Field(description="distance of the wheels [m]")


class BaseDrive(Strict):
    """A twist command sets the velocity of the floating base itself: x, y, and yaw."""

    drive: Literal["base"]


class RobotSpec(Strict):
    """One simulated robot."""

    format: Literal["policy_runner_robot/1"] = Field(
        alias="schema", description=f"always `{SCHEMA}`"
    )
    name: Name = Field("robot", description="name in reports")
    model: ModelFile = Field(description="the MJCF or URDF")
    description: Name | None = Field(
        None,
        description="a URDF in the same folder, for viewers: it is published on robot_description; "
        "default: the model, if it is a URDF",
    )
    physics: Physics = Field(Physics(), description="options of the physics")
    ground: Ground = Field(Ground(), description="the floor")
    base: Name | None = Field(
        None, description="the body whose pose is the robot's; default: the first with a free joint"
    )
    start: Start = Field(Start(), description="state after a reset")
    joints: Joints = Field(Joints(), description="properties that the model lacks")
    actuators: Actuators = Field(Actuators(), description="how a command becomes a torque")
    contacts: list[Contact] = Field([], description="contact properties of geoms, such as feet")
    twist: Annotated[DifferentialDrive | BaseDrive, Field(discriminator="drive")] | None = Field(
        None, description="what a twist command does; default: twist commands are refused"
    )
    sensors: dict[str, Sensor] = Field(
        default_factory=usual_sensors,
        description="topic -> sensor; default: imu/data, joint_states and odom",
    )


def robot_schema() -> dict[str, Any]:
    """The JSON Schema of `robot.yaml`."""
    return RobotSpec.model_json_schema(by_alias=True)
