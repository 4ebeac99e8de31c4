"""Which messages carry which kind of command, and where in them each value stands."""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Any

from policy_runner.core.problems import refuse
from policy_runner.ros.runner_parameters import COMMAND_TYPES
from policy_runner.ros.serialized_command import SerializedCommand

_POINT_FIELD = {"position": "positions", "velocity": "velocities", "effort": "effort"}


def command_messages(
    command_type: str, twist_type: str, kind: str, names: Sequence[str], period_ns: int
) -> list[tuple[str, Any, SerializedCommand, list[int]]]:
    """(topic suffix, message class, bytes, which of the names) for one kind of command.

    Raises:
        Refusal: the message type cannot carry this kind.
    """
    everything = list(range(len(names)))
    zeros = array.array("d", bytes(8 * len(names)))
    if kind == "twist":
        message, type_name, head = _twist(twist_type)
        made = SerializedCommand(message, type_name, [head + name for name in names])
        return [("", type(message), made, everything)]
    if kind not in COMMAND_TYPES[command_type]:
        able = [name for name, kinds in COMMAND_TYPES.items() if kind in kinds]
        raise refuse("", "parameter command.type", f"{' or '.join(able)} for {kind}", command_type)
    if command_type == "joint_state":
        from sensor_msgs.msg import JointState

        message = JointState(name=list(names))
        setattr(message, kind, zeros)
        paths = [f"{kind}[{k}]" for k in everything]
        made = SerializedCommand(message, "sensor_msgs/msg/JointState", paths)
        return [("", JointState, made, everything)]
    if command_type == "joint_trajectory":
        from builtin_interfaces.msg import Duration
        from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

        seconds, rest = divmod(period_ns, 1_000_000_000)
        point = JointTrajectoryPoint(time_from_start=Duration(sec=seconds, nanosec=rest))
        setattr(point, _POINT_FIELD[kind], zeros)
        message = JointTrajectory(joint_names=list(names), points=[point])
        paths = [f"points[0].{_POINT_FIELD[kind]}[{k}]" for k in everything]
        made = SerializedCommand(message, "trajectory_msgs/msg/JointTrajectory", paths)
        return [("", JointTrajectory, made, everything)]
    if command_type == "float64":
        from std_msgs.msg import Float64

        return [
            (
                f"/{name}",
                Float64,
                SerializedCommand(Float64(), "std_msgs/msg/Float64", ["data"]),
                [k],
            )
            for k, name in enumerate(names)
        ]
    from std_msgs.msg import Float64MultiArray, MultiArrayDimension

    message = Float64MultiArray(data=zeros)
    message.layout.dim = [MultiArrayDimension(label=kind, size=len(names), stride=len(names))]
    paths = [f"data[{k}]" for k in everything]
    made = SerializedCommand(message, "std_msgs/msg/Float64MultiArray", paths)
    return [("", Float64MultiArray, made, everything)]


def _twist(twist_type: str) -> tuple[Any, str, str]:
    from geometry_msgs.msg import Twist, TwistStamped

    if twist_type == "twist":
        return Twist(), "geometry_msgs/msg/Twist", ""
    return TwistStamped(), "geometry_msgs/msg/TwistStamped", "twist."
