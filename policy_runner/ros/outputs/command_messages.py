"""Builds the command messages: which message carries which kind, and the place of each value."""

from __future__ import annotations

import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import yaml

from policy_runner.core.errors import Problem, Refusal, did_you_mean, refuse
from policy_runner.core.inputs.cdr import Unreadable
from policy_runner.core.inputs.message_types import NoSuchField, message_type
from policy_runner.robot.parameters.command import COMMAND_TYPES
from policy_runner.ros.messages.serialized import SerializedCommand, type_at
from policy_runner.ros.messages.types import describe_message, message_class
from policy_runner.ros.outputs.message_paths import MessageFields
from policy_runner.ros.outputs.path_patterns import every_path

FIXED_FRAMES = ("map", "odom", "earth", "world")  # REP 105
_POINT_FIELD = {"position": "positions", "velocity": "velocities", "effort": "effort"}


@dataclass(frozen=True)
class CommandFormat:
    """The format in which the receiver expects its commands; see the parameters `command.*`."""

    type: str
    twist_type: str = "twist_stamped"
    period_ns: int = 10_000_000
    held: Mapping[str, float] = field(
        default_factory=dict
    )  # joints that the policy does not drive -> value
    layout: tuple[str, ...] = ()  # multi array: the numbers of each joint, joint by joint
    gains: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # joint -> gain -> value
    message_type: str = ""
    fields: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()  # `path=value`
    stiffness_fields: tuple[str, ...] = ()
    damping_fields: tuple[str, ...] = ()
    stamped: bool = True  # False: the trajectory's stamp is 0, which means "start at once"


class CommandMessage(NamedTuple):
    """One message to publish in each tick."""

    suffix: str  # appended to the topic
    message_class: Any
    serialized: SerializedCommand
    which: list[int]  # indices of the names whose values it carries


def command_messages(form: CommandFormat, kind: str, names: Sequence[str]) -> list[CommandMessage]:
    """Build the messages that carry one kind of command.

    Args:
        form: the receiver's format.
        kind: "position", "velocity", "effort", "twist" or "value".
        names: names of the values in the receiver's order, including held joints. `which` of each
            message indexes them: a tick also fills the values of held joints.

    Raises:
        Refusal: the message type cannot carry this kind, or lacks a field.
    """
    if form.type == "message":
        return [_any_message(form, kind, names)]
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


def _joint_state(form: CommandFormat, kind: str, names: list[str]) -> list[CommandMessage]:
    from sensor_msgs.msg import JointState

    message = JointState(name=names)
    setattr(message, kind, array.array("d", bytes(8 * len(names))))
    paths = [f"{kind}[{k}]" for k in range(len(names))]
    serialized = SerializedCommand(message, "sensor_msgs/msg/JointState", paths)
    return [CommandMessage("", JointState, serialized, list(range(len(names))))]


def _joint_trajectory(form: CommandFormat, kind: str, names: list[str]) -> list[CommandMessage]:
    from builtin_interfaces.msg import Duration
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    seconds, rest = divmod(form.period_ns, 1_000_000_000)
    point = JointTrajectoryPoint(time_from_start=Duration(sec=seconds, nanosec=rest))
    setattr(point, _POINT_FIELD[kind], array.array("d", bytes(8 * len(names))))
    message = JointTrajectory(joint_names=names, points=[point])
    paths = [f"points[0].{_POINT_FIELD[kind]}[{k}]" for k in range(len(names))]
    type_name = "trajectory_msgs/msg/JointTrajectory"
    serialized = SerializedCommand(message, type_name, paths, stamped=form.stamped)
    return [CommandMessage("", JointTrajectory, serialized, list(range(len(names))))]


def _multi_array(form: CommandFormat, kind: str, names: list[str]) -> list[CommandMessage]:
    from std_msgs.msg import Float64MultiArray, MultiArrayDimension

    layout = form.layout or (kind,)
    if kind not in layout:
        expected = f"a layout that holds {kind}"
        raise refuse("", "parameter command.layout", expected, ", ".join(layout))
    wide = len(layout)
    data = array.array("d", bytes(8 * wide * len(names)))
    for row, name in enumerate(names):
        for column, part in enumerate(layout):
            if part in ("stiffness", "damping"):
                data[row * wide + column] = _gain(form, name, part)
    message = Float64MultiArray(data=data)
    message.layout.dim = [
        MultiArrayDimension(label=",".join(names), size=len(names), stride=wide * len(names))
    ]
    if wide > 1:
        label = ",".join(layout)
        message.layout.dim.append(MultiArrayDimension(label=label, size=wide, stride=wide))
    column, rows = layout.index(kind), range(len(names))
    paths = [f"data[{row * wide + column}]" for row in rows]
    stiffness: list[str] = []
    if "stiffness" in layout:
        place = layout.index("stiffness")
        stiffness = [
            "" if name in form.held else f"data[{row * wide + place}]"
            for row, name in enumerate(names)
        ]
    serialized = SerializedCommand(message, "std_msgs/msg/Float64MultiArray", paths, stiffness)
    return [CommandMessage("", Float64MultiArray, serialized, list(rows))]


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

    return [
        CommandMessage(
            f"/{name}", Float64, SerializedCommand(Float64(), "std_msgs/msg/Float64", ["data"]), [k]
        )
        for k, name in enumerate(names)
        if name not in form.held
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


def _any_message(form: CommandFormat, kind: str, names: Sequence[str]) -> CommandMessage:
    """Build a message of any type from field paths and constants.

    `command.fields` has one path for each value, in the receiver's order.
    """
    key = "parameter command.fields"
    class_ = message_class(form.message_type, "parameter command.message_type")
    which = [k for k, name in enumerate(names) if name not in form.held]
    driven = [names[k] for k in which]
    form = _with_every_path(form)
    if len(form.fields) != len(driven):
        expected = f"{len(driven)} paths, one per value ({_shortened(driven)})"
        raise refuse("", key, expected, f"{len(form.fields)}")
    fields = MessageFields(form.message_type)
    gains = _gain_fields(form, driven)
    keys = _each_once(form, fields)
    constants = _constants(form, fields)
    if kind == "value":
        fields.problems += _far_stops(form, constants)
    message = class_()
    fields.fill(message, keys, constants)
    for path, gain in gains.items() if not fields.problems else ():
        fields.set_number(message, keys[path], path, gain)
    if fields.problems:
        raise Refusal(fields.problems)
    try:
        stiffness = form.stiffness_fields
        serialized = SerializedCommand(message, form.message_type, form.fields, stiffness)
    except (KeyError, TypeError, ValueError, AssertionError, Unreadable) as error:
        expected = f"a {form.message_type} whose numbers can be found in its bytes"
        raise refuse("", f"{key}, command.constants", expected, str(error)) from error
    return CommandMessage("", class_, serialized, which)


def _far_stops(form: CommandFormat, constants: Mapping[str, Any]) -> list[Problem | str]:
    """Return a problem for each fixed frame in which values are positions.

    The last command of a value is 0. Positions of 0 are where the robot is in a frame of the
    robot, but the origin of a fixed frame: a stopped robot would drive there.
    """
    tree = message_type(form.message_type, describe_message)
    try:
        owners = {type_at(path.rpartition(".")[0], tree) for path in form.fields}
    except NoSuchField:
        return []  # `_each_once` says so
    if not owners & {"geometry_msgs/Point", "geometry_msgs/Point32"}:
        return []
    found = {
        str(frame)
        for path, frame in constants.items()
        if path.endswith("frame_id") and str(frame).rpartition("/")[2] in FIXED_FRAMES
    }
    expected = "a frame of the robot, such as base_link, since the last command is a position of 0"
    return [
        Problem("", "parameter command.constants", expected, f"frame_id={frame}")
        for frame in sorted(found)
    ]


def _each_once(form: CommandFormat, fields: MessageFields) -> dict[str, str]:
    """Return each number's path -> the parameter that names it; a repeated path is a problem."""
    keys: dict[str, str] = {}
    for part in ("fields", "stiffness_fields", "damping_fields"):
        key = f"parameter command.{part}"
        for path in getattr(form, part):
            if path in keys:
                fields.problems.append(Problem("", key, "every path once", f"'{path}' again"))
                continue
            for number in fields.number(key, path, angle=part == "fields"):
                if number in keys:
                    got = f"'{number}', which '{path}' sets too"
                    fields.problems.append(Problem("", key, "every number once", got))
                keys[number] = key
    return keys


def _with_every_path(form: CommandFormat) -> CommandFormat:
    """Return the format with each pattern replaced by its paths.

    Raises:
        Refusal: a pattern stands for no paths.
    """
    problems: list[Problem | str] = []
    fields, stiffness, damping = (
        every_path(getattr(form, part), f"parameter command.{part}", problems)
        for part in ("fields", "stiffness_fields", "damping_fields")
    )
    if problems:
        raise Refusal(problems)
    return replace(form, fields=fields, stiffness_fields=stiffness, damping_fields=damping)


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:3])}, ..., {names[-1]}"


def _constants(form: CommandFormat, fields: MessageFields) -> dict[str, Any]:
    """Return the constants: path -> value."""
    key = "parameter command.constants"
    found: dict[str, Any] = {}
    for text in form.constants:
        path, equals, value = text.partition("=")
        path = path.strip()
        try:
            given = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError):
            equals = ""
        if not equals or not path:
            fields.problems.append(Problem("", key, "`path=value` each", f"'{text}'"))
            continue
        for one in every_path([path], key, fields.problems):
            if one in found:
                fields.problems.append(Problem("", key, "every path once", f"'{one}' again"))
            found[one] = given
    return found


def _gain_fields(form: CommandFormat, driven: Sequence[str]) -> dict[str, float]:
    """Return the gains of the policy spec: path in the message -> gain."""
    found: dict[str, float] = {}
    for part, paths in (("stiffness", form.stiffness_fields), ("damping", form.damping_fields)):
        key = f"parameter command.{part}_fields"
        if paths and len(paths) != len(driven):
            expected = f"{len(driven)} paths, one per value ({', '.join(driven)}), or none"
            raise refuse("", key, expected, f"{len(paths)}")
        for name, path in zip(driven, paths, strict=False):
            found[path] = _gain(form, name, part, key)
    return found


def check_order(order: list[str], commanded: list[str]) -> None:
    """Check that `command.joint_names` names every commanded joint once.

    Raises:
        Refusal: it does not.
    """
    key = "parameter command.joint_names"
    for name in order:
        if name not in commanded:
            expected = f"commanded joints ({', '.join(commanded)})"
            raise refuse("", key, expected, f"'{name}'", did_you_mean(name, commanded))
    missing = [name for name in commanded if name not in order]
    if missing or len(set(order)) != len(order):
        got = f"none of {', '.join(missing)}" if missing else "a joint twice"
        raise refuse("", key, f"every commanded joint once ({', '.join(commanded)})", got)
