"""Topics of the simulated robot; it accepts wheel commands by joint name, as a driver does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState
from trajectory_msgs.msg import JointTrajectory

from policy_runner.ros.inputs.polling import MessageWait, PolledSubscription
from policy_runner.ros.messages.topics import COMMAND_TOPIC
from policy_runner.ros.simulated_robot.seen import RobotSeen
from policy_runner.sim.balancer import JOINT_NAMES, Balancer
from policy_runner.sim.sensors import Noise, Reading


class WheelCommands:
    """Converts names and velocities into targets (left, right; rad/s); counts ignored commands.

    A wheel that a command does not name keeps its last target. A command without any usable wheel
    is ignored completely. `problem` is the newest reason, one sentence; '' if there was none.
    """

    def __init__(self) -> None:
        self._target = [0.0, 0.0]
        self.ignored = 0
        self.problem = ""

    def read(self, names: Sequence[str], velocities: Sequence[float]) -> list[float] | None:
        """Return the targets [left, right] in rad/s, or None if the command is ignored."""
        if len(names) != len(velocities):
            self._ignore(f"{len(names)} joint names but {len(velocities)} velocities")
            return None
        found = 0
        for name, velocity in zip(names, velocities, strict=True):
            if name not in JOINT_NAMES:
                self._ignore(f"unknown joint {name!r}, expected {' and '.join(JOINT_NAMES)}")
            elif not math.isfinite(velocity):
                self._ignore(f"joint {name}: velocity {velocity}, expected a finite number")
            else:
                self._target[JOINT_NAMES.index(name)] = float(velocity)
                found += 1
        missing = [name for name in JOINT_NAMES if name not in names]
        if missing:
            self._ignore(f"no velocity for {' and '.join(missing)}")
        return list(self._target) if found else None

    def _ignore(self, reason: str) -> None:
        self.ignored += 1
        self.problem = f"joint command: {reason}"


STATUS_TOPIC = "policy_runner/status"
NS_PER_S = 1_000_000_000


def _qos(reliable: bool = True) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=10,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
    )


class RobotTopics:
    """Publishers and polled subscriptions of one simulated robot.

    The command subscription is best effort in real time, because that matches every publisher. In
    lockstep it is reliable, because no message may be lost. Publishers are always reliable, which
    matches both kinds of subscriber.
    """

    def __init__(
        self, node: Node, lockstep: bool, clock: bool, cmd_vel: bool, trajectory: bool, noise: Noise
    ) -> None:
        """Create the publishers and subscriptions.

        Args:
            node: creates them.
            lockstep: lose no command (reliable).
            clock: publish /clock.
            cmd_vel: publish cmd_vel.
            trajectory: commands are JointTrajectory; otherwise JointState.
            noise: gives the covariances of the Imu.
        """
        self._node = node
        publisher = node.create_publisher
        self._imu_publisher = publisher(Imu, "imu/data", _qos())
        self._joints_publisher = publisher(JointState, "joint_states", _qos())
        self._odom_publisher = publisher(Odometry, "odom", _qos())
        self._cmd_vel_publisher = publisher(TwistStamped, "cmd_vel", _qos()) if cmd_vel else None
        self._clock_publisher = publisher(Clock, "/clock", _qos()) if clock else None
        self._diagnostics_publisher = publisher(DiagnosticArray, "/diagnostics", _qos())
        kind = JointTrajectory if trajectory else JointState
        self._seen = RobotSeen(node)
        self._command = PolledSubscription(node, kind, COMMAND_TOPIC, _qos(reliable=lockstep))
        self._status = PolledSubscription(node, DiagnosticArray, STATUS_TOPIC, _qos())
        self._messages = MessageWait(node.context, [self._command, self._status])
        self.wheel_commands = WheelCommands()
        self._imu, self._joints, self._odom = Imu(), JointState(), Odometry()
        self._twist, self._clock = TwistStamped(), Clock()
        self._fill_constants(noise)

    def _fill_constants(self, noise: Noise) -> None:
        self._imu.header.frame_id = "imu_link"
        for field, sigma in (
            ("orientation_covariance", noise.orientation),
            ("angular_velocity_covariance", noise.gyro),
            ("linear_acceleration_covariance", noise.linear_acceleration),
        ):
            setattr(self._imu, field, [sigma**2 if i % 4 == 0 else 0.0 for i in range(9)])
        self._joints.name = list(reversed(JOINT_NAMES))  # right wheel first: the order is free
        self._odom.header.frame_id = "odom"
        self._odom.child_frame_id = "base_link"
        self._twist.header.frame_id = "base_link"

    # -- out ---------------------------------------------------------------------------------

    def set_state(
        self, stamp_ns: int, reading: Reading, balancer: Balancer, command: tuple[float, float]
    ) -> None:
        """Fill all messages with one time and state, without publishing.

        Args:
            stamp_ns: stamp of all messages [ns].
            reading: sensor readings for Imu and JointState.
            balancer: gives the true state, for Odometry.
            command: commanded velocity, forward [m/s] and yaw [rad/s], for cmd_vel.
        """
        sec, nanosec = divmod(stamp_ns, NS_PER_S)
        stamps = [m.header.stamp for m in (self._imu, self._joints, self._odom, self._twist)]
        for stamp in (*stamps, self._clock.clock):
            stamp.sec, stamp.nanosec = sec, nanosec
        imu = self._imu
        q, w, a = imu.orientation, imu.angular_velocity, imu.linear_acceleration
        q.x, q.y, q.z, q.w = reading.orientation_xyzw.tolist()
        w.x, w.y, w.z = reading.gyro.tolist()
        a.x, a.y, a.z = reading.linear_acceleration.tolist()
        self._joints.position = reading.wheel_position[::-1].tolist()
        self._joints.velocity = reading.wheel_velocity[::-1].tolist()
        position, twist = self._odom.pose.pose.position, self._odom.twist.twist
        position.x, position.y, position.z = balancer.data.qpos[:3].tolist()
        q = self._odom.pose.pose.orientation
        q.x, q.y, q.z, q.w = balancer.orientation_xyzw.tolist()
        v, w = twist.linear, twist.angular
        v.x, v.y, v.z = balancer.base_velocity.tolist()
        w.x, w.y, w.z = balancer.gyro.tolist()
        self._twist.twist.linear.x, self._twist.twist.angular.z = command

    def publish_state(self) -> None:
        """Publish the messages that `set_state` filled; a second call repeats them."""
        self._joints_publisher.publish(self._joints)
        self._odom_publisher.publish(self._odom)
        self._seen.publish(self._joints, self._odom)
        if self._cmd_vel_publisher is not None:
            self._cmd_vel_publisher.publish(self._twist)
        self._imu_publisher.publish(self._imu)
        if self._clock_publisher is not None:
            self._clock_publisher.publish(self._clock)

    def publish_diagnostics(self, stamp_ns: int, status: Any) -> None:
        """Publish one status on /diagnostics."""
        array = DiagnosticArray(status=[status])
        array.header.stamp.sec, array.header.stamp.nanosec = divmod(stamp_ns, NS_PER_S)
        self._diagnostics_publisher.publish(array)

    # -- in ----------------------------------------------------------------------------------

    def wait(self, timeout_s: float) -> None:
        """Sleep until a message can be taken, or until the timeout."""
        self._messages.wait(max(0, int(timeout_s * NS_PER_S)))

    def take_commands(self) -> list[tuple[int, list[float]]]:
        """Take every waiting command that is usable, oldest first.

        Returns:
            For each command its stamp [ns] and the targets, left and right [rad/s].
        """
        commands = []
        for message in _take_all(self._command):
            if isinstance(message, JointTrajectory):
                velocities = message.points[0].velocities if message.points else []
                names = message.joint_names
            else:
                names, velocities = message.name, message.velocity
            target = self.wheel_commands.read(names, velocities)
            if target is not None:
                commands.append((_stamp_ns(message), target))
        return commands

    def take_statuses(self) -> list[int]:
        """Take every waiting status of the runner; return the stamps [ns], oldest first."""
        return [_stamp_ns(message) for message in _take_all(self._status)]

    def publisher_counts(self) -> tuple[int, int]:
        """Return the number of publishers of commands and of the runner's status."""
        count = self._node.count_publishers
        resolve = self._node.resolve_topic_name
        return count(resolve(COMMAND_TOPIC)), count(resolve(STATUS_TOPIC))


def _take_all(polled: PolledSubscription) -> list[Any]:
    messages = []
    while (taken := polled.take()) is not None:
        messages.append(taken[0])
    return messages


def _stamp_ns(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)
