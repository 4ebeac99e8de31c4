"""The messages of a simulated robot's sensors, one publisher for each topic of `robot.yaml`."""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, Imu, JointState
from std_msgs.msg import Float64MultiArray, MultiArrayDimension

from policy_runner.sim.camera import Cameras
from policy_runner.sim.loop.sensor_numbers import ImageTimes, JointOrder, SensorNoise, numbers_of
from policy_runner.sim.plant.plant import Plant
from policy_runner.sim.robot_file.sensor_keys import (
    CameraSensor,
    ContactsSensor,
    ImuSensor,
    JointStatesSensor,
    NamedSensors,
    OdometrySensor,
    Sensor,
)

NS_PER_S = 1_000_000_000
Fill = Callable[[int], bool]  # fills the message at a stamp [ns]; False: nothing new to publish


class SensorTopic:
    """One topic: its publisher, its message, and the function that fills it."""

    def __init__(self, publisher: Any, message: Any, fill: Fill) -> None:
        self._publisher, self.message, self._fill = publisher, message, fill
        self._wanted = False

    def set(self, stamp_ns: int) -> None:
        """Fill the message."""
        self._wanted = self._fill(stamp_ns)

    def publish(self) -> None:
        """Publish the message, if it is new; a second call repeats it."""
        if self._wanted:
            self._publisher.publish(self.message)


class SensorTopics:
    """All sensors of a robot.

    Attributes:
        odometry: the message of the first odometry sensor; None: there is none.
        joints: the message of the first JointState sensor; None: there is none.
    """

    def __init__(
        self, node: Node, plant: Plant, qos: QoSProfile, noise: SensorNoise | None, lockstep: bool
    ) -> None:
        """Create the publishers.

        Args:
            node: creates them.
            plant: the robot.
            qos: of all publishers.
            noise: noise on the readings; None: none.
            lockstep: publish every sensor in every tick: the newest image again, too.

        Raises:
            Refusal: a sensor does not fit the model, or a camera cannot be rendered.
        """
        self._plant, self._noise, self._lockstep = plant, noise, lockstep
        self._cameras: Cameras | None = None
        self.topics: list[SensorTopic] = []
        self.odometry: Odometry | None = None
        self.joints: JointState | None = None
        for topic, sensor in plant.robot.spec.sensors.items():
            message, fill = self._message(sensor)
            publisher = node.create_publisher(type(message), topic, qos)
            self.topics.append(SensorTopic(publisher, message, fill))
            if isinstance(message, Odometry) and self.odometry is None:
                self.odometry = message
            if isinstance(message, JointState) and self.joints is None:
                self.joints = message

    def _message(self, sensor: Sensor) -> tuple[Any, Fill]:
        if isinstance(sensor, ImuSensor):
            return self._imu(sensor)
        if isinstance(sensor, JointStatesSensor):
            return self._joint_states(sensor)
        if isinstance(sensor, OdometrySensor):
            return self._odometry(sensor)
        if isinstance(sensor, CameraSensor):
            return self._image(sensor)
        return self._numbers(sensor)

    def _imu(self, sensor: ImuSensor) -> tuple[Any, Fill]:
        message = Imu()
        message.header.frame_id = sensor.frame_id
        for field, sigma in (
            ("orientation_covariance", sensor.noise_orientation),
            ("angular_velocity_covariance", sensor.noise_angular_velocity),
            ("linear_acceleration_covariance", sensor.noise_linear_acceleration),
        ):
            sigma = sigma if self._noise is not None else 0.0
            setattr(message, field, [sigma**2 if i % 4 == 0 else 0.0 for i in range(9)])

        def fill(stamp_ns: int) -> bool:
            numbers = numbers_of(sensor, self._plant)
            if self._noise is not None:
                numbers = self._noise.on_imu(numbers, sensor)
            values = numbers.tolist()
            set_stamp(message.header.stamp, stamp_ns)
            q, w, a = message.orientation, message.angular_velocity, message.linear_acceleration
            q.x, q.y, q.z, q.w = values[:4]
            w.x, w.y, w.z = values[4:7]
            a.x, a.y, a.z = values[7:]
            return True

        return message, fill

    def _joint_states(self, sensor: JointStatesSensor) -> tuple[Any, Fill]:
        order = JointOrder(sensor, self._plant)
        message = JointState(name=order.names)

        def fill(stamp_ns: int) -> bool:
            values = order.values(self._plant)
            if self._noise is not None:
                values = self._noise.on_joints(values, sensor)
            set_stamp(message.header.stamp, stamp_ns)
            message.position = array.array("d", values["position"].tobytes())
            message.velocity = array.array("d", values["velocity"].tobytes())
            message.effort = array.array("d", values["effort"].tobytes())
            return True

        return message, fill

    def _odometry(self, sensor: OdometrySensor) -> tuple[Any, Fill]:
        message = Odometry()
        message.header.frame_id, message.child_frame_id = sensor.frame_id, sensor.child_frame_id

        def fill(stamp_ns: int) -> bool:
            values = numbers_of(sensor, self._plant).tolist()
            set_stamp(message.header.stamp, stamp_ns)
            place, q = message.pose.pose.position, message.pose.pose.orientation
            place.x, place.y, place.z = values[:3]
            q.x, q.y, q.z, q.w = values[3:7]
            v, w = message.twist.twist.linear, message.twist.twist.angular
            v.x, v.y, v.z = values[7:10]
            w.x, w.y, w.z = values[10:]
            return True

        return message, fill

    def _numbers(self, sensor: ContactsSensor | NamedSensors) -> tuple[Any, Fill]:
        names = sensor.of if isinstance(sensor, ContactsSensor) else sensor.names
        size = len(numbers_of(sensor, self._plant))
        message = Float64MultiArray()
        message.layout.dim = [MultiArrayDimension(label=",".join(names), size=size, stride=size)]

        def fill(_stamp_ns: int) -> bool:
            message.data = array.array("d", numbers_of(sensor, self._plant).tobytes())
            return True

        return message, fill

    def _image(self, sensor: CameraSensor) -> tuple[Any, Fill]:
        # A rendering context belongs to the thread that uses it. This one only proves OpenGL.
        Cameras(self._plant).close()
        message = Image(
            height=sensor.height, width=sensor.width, encoding="rgb8", step=3 * sensor.width
        )
        message.header.frame_id = sensor.frame_id
        times = ImageTimes(sensor.rate)

        def fill(stamp_ns: int) -> bool:
            new = times.due(stamp_ns)
            if new:
                if self._cameras is None:
                    self._cameras = Cameras(self._plant)
                message.data = array.array("B", self._cameras.render(sensor).tobytes())
            if new or self._lockstep:
                set_stamp(message.header.stamp, stamp_ns)
            return new or self._lockstep

        return message, fill

    def close(self) -> None:
        """Release the cameras, in the thread that has rendered."""
        if self._cameras is not None:
            self._cameras.close()


def set_stamp(stamp: Any, stamp_ns: int) -> None:
    """Write a time [ns] into a builtin_interfaces/Time."""
    stamp.sec, stamp.nanosec = divmod(stamp_ns, NS_PER_S)
