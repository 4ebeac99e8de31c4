"""The sensors of `robot.yaml`: each entry is a topic, its message, and the source in the model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, NonNegativeFloat, PositiveFloat

from policy_runner.core.spec.base import Name, Names, Strict

Pixels = Annotated[int, Field(ge=1, le=4096, strict=True)]


class ImuSensor(Strict):
    """sensor_msgs/Imu of a body, or of named sensors of the model."""

    type: Literal["imu"]
    body: Name | None = Field(
        None, description="body whose frame the Imu measures in; default: the base"
    )
    gyro: Name | None = Field(
        None, description="gyro sensor of the model [rad/s]; default: that of the body"
    )
    accelerometer: Name | None = Field(
        None, description="accelerometer of the model [m/s^2]; default: that of the body"
    )
    orientation: Name | None = Field(
        None, description="framequat sensor of the model; default: the body's orientation"
    )
    frame_id: Name = Field("imu_link", description="frame in the message's header")
    noise_angular_velocity: NonNegativeFloat = Field(
        0.0, description="standard deviation of white noise [rad/s]"
    )
    noise_linear_acceleration: NonNegativeFloat = Field(
        0.0, description="standard deviation of white noise [m/s^2]"
    )
    noise_orientation: NonNegativeFloat = Field(
        0.0, description="standard deviation of white noise about each axis [rad]"
    )


class JointStatesSensor(Strict):
    """sensor_msgs/JointState of the hinges and slides."""

    type: Literal["joint_states"]
    joints: Names | None = Field(
        None, description="joints in this order; default: all, in file order"
    )
    shuffle: Annotated[int, Field(ge=0, strict=True)] | None = Field(
        None, description="seed of a random order of the joints; default: no shuffling"
    )
    noise_position: NonNegativeFloat = Field(
        0.0, description="standard deviation of white noise [rad] or [m]"
    )
    noise_velocity: NonNegativeFloat = Field(
        0.0, description="standard deviation of white noise [rad/s] or [m/s]"
    )


class OdometrySensor(Strict):
    """nav_msgs/Odometry of a body: the true pose in the world, the velocity in the body's frame."""

    type: Literal["odometry"]
    body: Name | None = Field(None, description="the body; default: the base")
    frame_id: Name = Field("odom", description="frame of the pose")
    twist_axes: Literal["body", "world"] = Field(
        "body",
        description="axes of the velocity: body, as nav_msgs/Odometry says (`child_frame_id`), or "
        "world, as policies of gymnasium observe it",
    )
    child_frame_id: Name = Field("base_link", description="frame of the velocity")


class ContactsSensor(Strict):
    """std_msgs/Float64MultiArray: the normal contact force of each geom or body [N]."""

    type: Literal["contacts"]
    of: Names = Field(description="geoms or bodies, in the order of the numbers")


class NamedSensors(Strict):
    """std_msgs/Float64MultiArray: the numbers of named sensors of the model, one after another."""

    type: Literal["sensors"]
    names: Names = Field(description="sensors of the model, in the order of the numbers")


class CameraSensor(Strict):
    """sensor_msgs/Image (rgb8) of a camera of the model, rendered off screen."""

    type: Literal["camera"]
    camera: Name = Field(description="camera of the model")
    width: Pixels = Field(320, description="[pixels]")
    height: Pixels = Field(240, description="[pixels]")
    rate: PositiveFloat = Field(10.0, description="images per simulated second [Hz]")
    frame_id: Name = Field("camera", description="frame in the message's header")
    shadows: bool = Field(False, description="render shadows and reflections, which is slow")
    collision_geoms: bool = Field(
        False, description="render the collision geoms (group 3) instead of the visual ones"
    )


Sensor = Annotated[
    ImuSensor | JointStatesSensor | OdometrySensor | ContactsSensor | NamedSensors | CameraSensor,
    Field(discriminator="type"),
]
MESSAGE_TYPES = {
    "imu": "sensor_msgs/msg/Imu",
    "joint_states": "sensor_msgs/msg/JointState",
    "odometry": "nav_msgs/msg/Odometry",
    "contacts": "std_msgs/msg/Float64MultiArray",
    "sensors": "std_msgs/msg/Float64MultiArray",
    "camera": "sensor_msgs/msg/Image",
}
Gravity = Annotated[list[FiniteFloat], Field(min_length=3, max_length=3)]


def usual_sensors() -> dict[str, Sensor]:
    """The sensors of a robot whose file names none: Imu and odometry of the base, its joints."""
    return {
        "imu/data": ImuSensor(type="imu"),
        "joint_states": JointStatesSensor(type="joint_states"),
        "odom": OdometrySensor(type="odometry"),
    }
