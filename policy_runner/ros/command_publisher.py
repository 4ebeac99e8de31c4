"""Commands out: preallocated messages, values placed by joint name in the receiver's order."""

from __future__ import annotations

import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rclpy.duration import Duration
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from policy_runner.core.action import ActionElement
from policy_runner.core.joints import RobotJoint
from policy_runner.core.problems import did_you_mean, refuse

Array = npt.NDArray[np.float64]
_POINT_FIELD = {"position": "positions", "velocity": "velocities", "effort": "effort"}


class _KindMessage:
    """One preallocated message for the joints of one kind; `values` is its memory."""

    def __init__(self, message_type: str, kind: str, names: list[str], period_ns: int) -> None:
        buffer = array.array("d", bytes(8 * len(names)))
        if message_type == "joint_state":
            from sensor_msgs.msg import JointState

            self.message: Any = JointState(name=names)
            setattr(self.message, kind, buffer)
            kept = getattr(self.message, kind)
        elif message_type == "joint_trajectory":
            from builtin_interfaces.msg import Duration as DurationMessage
            from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

            point = JointTrajectoryPoint()
            seconds, rest = divmod(period_ns, 1_000_000_000)
            point.time_from_start = DurationMessage(sec=seconds, nanosec=rest)
            setattr(point, _POINT_FIELD[kind], buffer)
            self.message = JointTrajectory(joint_names=names, points=[point])
            kept = getattr(self.message.points[0], _POINT_FIELD[kind])
        else:
            from std_msgs.msg import Float64MultiArray, MultiArrayDimension

            self.message = Float64MultiArray(data=buffer)
            dimension = MultiArrayDimension(label=kind, size=len(names), stride=len(names))
            self.message.layout.dim = [dimension]
            kept = self.message.data
        # Shares the message's memory: a tick writes numbers, it makes no message.
        self.values: Array = np.frombuffer(kept, dtype=np.float64)
        self.stamp = getattr(getattr(self.message, "header", None), "stamp", None)


class CommandPublisher:
    """Publishes one message per kind of command (position, velocity, effort) each tick.

    Robot value = sign * policy value, plus the joint's offset for a position.
    Topic `name`; with several kinds in one policy, `name/<kind>` for each.

    Raises:
        Refusal: the receiver's joint order does not name exactly the commanded joints.
    """

    def __init__(
        self,
        node: Any,
        name: str,
        message_type: str,
        elements: Sequence[ActionElement],
        robot: Mapping[str, RobotJoint],
        receiver_order: Sequence[str],
        period_ns: int,
    ) -> None:
        kinds = list(dict.fromkeys(element.kind for element in elements))
        names = {k: robot[e.joint].name for k, e in enumerate(elements)}
        if receiver_order:
            _check_order(list(receiver_order), sorted(set(names.values())))
        self._node = node
        self._parts = []
        for kind in kinds:
            index = [k for k, element in enumerate(elements) if element.kind == kind]
            if receiver_order:
                index.sort(key=lambda k: receiver_order.index(names[k]))
            part = _KindMessage(message_type, kind, [names[k] for k in index], period_ns)
            joints = [robot[elements[k].joint] for k in index]
            sign = np.array([joint.sign for joint in joints])
            offset = np.array([joint.offset if kind == "position" else 0.0 for joint in joints])
            publisher = node.create_publisher(
                type(part.message),
                name if len(kinds) == 1 else f"{name}/{kind}",
                QoSProfile(depth=1),  # reliable: ros2_control's command topics match nothing less
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
            self._parts.append((part, publisher, np.array(index, dtype=np.intp), sign, offset))

    def publish(self, command: Array, stamp_ns: int) -> None:
        """Publish the command, float64 [elements] in policy order, stamped on the node's clock."""
        for part, publisher, index, sign, offset in self._parts:
            command.take(index, out=part.values)
            np.multiply(part.values, sign, out=part.values)
            np.add(part.values, offset, out=part.values)
            if part.stamp is not None:
                part.stamp.sec, part.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
            publisher.publish(part.message)

    def wait_for_acknowledgement(self, timeout_s: float) -> bool:
        """Whether every receiver confirmed the last command; returns at the timeout at latest."""
        timeout = Duration(seconds=timeout_s)
        return all(bool(part[1].wait_for_all_acked(timeout)) for part in self._parts)

    def destroy(self) -> None:
        """Give the publishers back."""
        for _, publisher, _, _, _ in self._parts:
            self._node.destroy_publisher(publisher)
        self._parts = []


def _check_order(order: list[str], commanded: list[str]) -> None:
    key = "parameter command.joint_names"
    for name in order:
        if name not in commanded:
            expected = f"commanded joints ({', '.join(commanded)})"
            raise refuse("", key, expected, f"'{name}'", did_you_mean(name, commanded))
    missing = [name for name in commanded if name not in order]
    if missing or len(set(order)) != len(order):
        got = f"none of {', '.join(missing)}" if missing else "a joint twice"
        raise refuse("", key, f"every commanded joint once ({', '.join(commanded)})", got)
