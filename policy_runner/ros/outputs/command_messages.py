"""Which messages carry which kind of command, and where in them each value stands."""

from __future__ import annotations

import array
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from policy_runner.core.errors import Refusal, refuse
from policy_runner.core.inputs.cdr import Unreadable
from policy_runner.robot.parameters.command import COMMAND_TYPES
from policy_runner.ros.messages.serialized import SerializedCommand
from policy_runner.ros.messages.types import message_class

_POINT_FIELD = {"position": "positions", "velocity": "velocities", "effort": "effort"}
_ELEMENT = re.compile(r"^(?P<field>[\w.]+)\[(?P<index>\d+)\]$")


@dataclass(frozen=True)
class CommandFormat:
    """How the receiver wants its commands; see the parameters `command.*`."""

    type: str
    twist_type: str = "twist_stamped"
    period_ns: int = 10_000_000
    held: Mapping[str, float] = field(default_factory=dict)  # joints nobody drives -> value
    layout: tuple[str, ...] = ()  # of a multi array: numbers per joint, joint by joint
    gains: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # joint -> gain -> value
    message_type: str = ""
    fields: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()  # `path=value`
    stiffness_fields: tuple[str, ...] = ()
    damping_fields: tuple[str, ...] = ()


class CommandMessage(NamedTuple):
    """One message to publish each tick: topic suffix, class, bytes, which of the values."""

    suffix: str
    message_class: Any
    serialized: SerializedCommand
    which: list[int]


def command_messages(form: CommandFormat, kind: str, names: Sequence[str]) -> list[CommandMessage]:
    """The messages that carry one kind of command; `names` in the receiver's order.

    A name in `form.held` keeps its value; `which` counts the others.

    Raises:
        Refusal: the message type cannot carry this kind, or lacks a field.
    """
    if form.type == "message":
        return [_any_message(form, names)]
    if kind == "twist":
        return [_twist(form, names)]
    if kind not in COMMAND_TYPES[form.type]:
        able = [name for name, kinds in COMMAND_TYPES.items() if kind in kinds]
        raise refuse("", "parameter command.type", f"{' or '.join(able)} for {kind}", form.type)
    make: Callable[..., list[CommandMessage]] = {
        "joint_state": _joint_state,
        "joint_trajectory": _joint_trajectory,
        "float64_multi_array": _multi_array,
        "float64": _float64,
    }[form.type]
    return make(form, kind, list(names))


def _values(form: CommandFormat, names: Sequence[str]) -> tuple[array.array[float], list[int]]:
    """Start values (held joints have theirs), and the positions that a tick fills."""
    start = array.array("d", [form.held.get(name, 0.0) for name in names])
    return start, [k for k, name in enumerate(names) if name not in form.held]


def _joint_state(form: CommandFormat, kind: str, names: list[str]) -> list[CommandMessage]:
    from sensor_msgs.msg import JointState

    start, driven = _values(form, names)
    message = JointState(name=names)
    setattr(message, kind, start)
    paths = [f"{kind}[{k}]" for k in driven]
    serialized = SerializedCommand(message, "sensor_msgs/msg/JointState", paths)
    return [CommandMessage("", JointState, serialized, list(range(len(driven))))]


def _joint_trajectory(form: CommandFormat, kind: str, names: list[str]) -> list[CommandMessage]:
    from builtin_interfaces.msg import Duration
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    start, driven = _values(form, names)
    seconds, rest = divmod(form.period_ns, 1_000_000_000)
    point = JointTrajectoryPoint(time_from_start=Duration(sec=seconds, nanosec=rest))
    setattr(point, _POINT_FIELD[kind], start)
    message = JointTrajectory(joint_names=names, points=[point])
    paths = [f"points[0].{_POINT_FIELD[kind]}[{k}]" for k in driven]
    serialized = SerializedCommand(message, "trajectory_msgs/msg/JointTrajectory", paths)
    return [CommandMessage("", JointTrajectory, serialized, list(range(len(driven))))]


def _multi_array(form: CommandFormat, kind: str, names: list[str]) -> list[CommandMessage]:
    from std_msgs.msg import Float64MultiArray, MultiArrayDimension

    layout = form.layout or (kind,)
    if kind not in layout:
        expected = f"a layout that holds {kind}"
        raise refuse("", "parameter command.layout", expected, ", ".join(layout))
    start, driven = _values(form, names)
    wide = len(layout)
    data = array.array("d", bytes(8 * wide * len(names)))
    for row, name in enumerate(names):
        for column, part in enumerate(layout):
            if part == kind:
                data[row * wide + column] = start[row]
            elif part in ("stiffness", "damping"):
                data[row * wide + column] = _gain(form, name, part)
    message = Float64MultiArray(data=data)
    message.layout.dim = [
        MultiArrayDimension(label=",".join(names), size=len(names), stride=wide * len(names))
    ]
    if wide > 1:
        label = ",".join(layout)
        message.layout.dim.append(MultiArrayDimension(label=label, size=wide, stride=wide))
    column = layout.index(kind)
    paths = [f"data[{row * wide + column}]" for row in driven]
    place = layout.index("stiffness") if "stiffness" in layout else 0
    stiffness = [f"data[{row * wide + place}]" for row in driven if "stiffness" in layout]
    serialized = SerializedCommand(message, "std_msgs/msg/Float64MultiArray", paths, stiffness)
    return [CommandMessage("", Float64MultiArray, serialized, list(range(len(driven))))]


def _gain(
    form: CommandFormat, name: str, part: str, key: str = "parameter command.layout"
) -> float:
    gains = form.gains.get(name, {})
    if part not in gains:
        expected = f"the policy spec's {part} for {name}"
        raise refuse("", key, expected, "none", "leave it out")
    return float(gains[part])


def _float64(form: CommandFormat, _kind: str, names: list[str]) -> list[CommandMessage]:
    from std_msgs.msg import Float64

    driven = [name for name in names if name not in form.held]
    return [
        CommandMessage(
            f"/{name}", Float64, SerializedCommand(Float64(), "std_msgs/msg/Float64", ["data"]), [k]
        )
        for k, name in enumerate(driven)
    ]


def _twist(form: CommandFormat, names: Sequence[str]) -> CommandMessage:
    from geometry_msgs.msg import Twist, TwistStamped

    every = list(range(len(names)))
    if form.twist_type == "twist":
        serialized = SerializedCommand(Twist(), "geometry_msgs/msg/Twist", names)
        return CommandMessage("", Twist, serialized, every)
    paths = [f"twist.{name}" for name in names]
    serialized = SerializedCommand(TwistStamped(), "geometry_msgs/msg/TwistStamped", paths)
    return CommandMessage("", TwistStamped, serialized, every)


def _any_message(form: CommandFormat, names: Sequence[str]) -> CommandMessage:
    """Any message by field path: one path per value in the receiver's order, and constants."""
    key = "parameter command.fields"
    class_ = message_class(form.message_type, "parameter command.message_type")
    driven = [name for name in names if name not in form.held]
    if len(form.fields) != len(driven):
        expected = f"{len(driven)} paths, one per value ({', '.join(driven)})"
        raise refuse("", key, expected, f"{len(form.fields)}")
    message = class_()
    try:
        for text in form.constants:
            path, _, value = text.partition("=")
            _set(message, path.strip(), yaml.safe_load(value))
        gains = _gain_fields(form, driven)
        for path in (*form.fields, *gains):
            match = _ELEMENT.match(path)
            if match:
                _grow(message, match["field"], int(match["index"]) + 1)
        for path, gain in gains.items():
            _set_number(message, path, gain)
        stiffness = form.stiffness_fields
        serialized = SerializedCommand(message, form.message_type, form.fields, stiffness)
    except (AttributeError, KeyError, TypeError, ValueError, Unreadable, yaml.YAMLError) as error:
        if isinstance(error, Refusal):
            raise
        expected = f"paths of float64 fields of {form.message_type}, constants that fit theirs"
        raise refuse("", f"{key}, command.constants", expected, str(error)) from error
    return CommandMessage("", class_, serialized, list(range(len(driven))))


def _gain_fields(form: CommandFormat, driven: Sequence[str]) -> dict[str, float]:
    """Paths of the message's gains, and the policy spec's gains that belong there."""
    found: dict[str, float] = {}
    for part, paths in (("stiffness", form.stiffness_fields), ("damping", form.damping_fields)):
        key = f"parameter command.{part}_fields"
        if paths and len(paths) != len(driven):
            expected = f"{len(driven)} paths, one per value ({', '.join(driven)}), or none"
            raise refuse("", key, expected, f"{len(paths)}")
        for name, path in zip(driven, paths, strict=False):
            found[path] = _gain(form, name, part, key)
    return found


def _set_number(message: Any, path: str, value: float) -> None:
    match = _ELEMENT.match(path)
    owner, last = _owner(message, match["field"] if match else path)
    if match:
        getattr(owner, last)[int(match["index"])] = value
    else:
        setattr(owner, last, value)


def _owner(message: Any, path: str) -> tuple[Any, str]:
    *parents, last = path.split(".")
    for part in parents:
        message = getattr(message, part)
    return message, last


def _set(message: Any, path: str, value: Any) -> None:
    owner, last = _owner(message, path)
    present = getattr(owner, last)
    if isinstance(present, (bool, int, float, str)):
        value = type(present)(value)
    setattr(owner, last, value)


def _grow(message: Any, path: str, size: int) -> None:
    owner, last = _owner(message, path)
    present = getattr(owner, last)
    if isinstance(present, array.array) and len(present) < size:
        present.extend([0.0] * (size - len(present)))
