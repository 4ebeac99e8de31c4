"""Converts the parameters `command.*` into one frozen `CommandFormat` and checks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policy_runner.core.command.effort_pd import EffortFromPd
from policy_runner.core.errors import Problem, Refusal, collect
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.spec import PolicySpec
from policy_runner.core.spec.named_numbers import by_name
from policy_runner.robot.config import CommandConfig, held_numbers
from policy_runner.robot.load import LoadedPolicy
from policy_runner.robot.parameters.command import JOINT_KINDS
from policy_runner.ros.messages.topics import COMMAND_TOPIC
from policy_runner.ros.outputs.command_messages import CommandFormat
from policy_runner.ros.outputs.command_publisher import CommandPublisher


def command_format(
    command: CommandConfig,
    spec: PolicySpec,
    file: str,
    robot: Mapping[str, RobotJoint],
    period_ns: int,
) -> CommandFormat:
    """Return the format in which the receiver expects its commands.

    Args:
        command: the parameters `command.*`.
        spec: the policy's spec; its gains and action tensors are read.
        file: path of the spec file, for errors.
        robot: policy joint name -> joint of the robot.
        period_ns: period of the control loop [ns].

    Raises:
        Refusal: a held joint is not `name=value`, is driven by the policy, or has no place in the
            message; or `command.stamp` does not fit the message type.
    """
    problems: list[Problem | str] = []
    if command.stamp != "now" and command.type != "joint_trajectory":
        got = f"{command.stamp} for command.type {command.type}"
        problems.append(Problem("", "parameter command.stamp", "now", got))
    groups = [group for tensor in spec.action for group in tensor.groups]
    driven = {robot[name].name for group in groups for name in group.names if name in robot}
    if command.held_joints:
        problems += _no_place_for_held(command.type, groups[0].kind)
    held = held_numbers(command, problems)
    for name in held:
        if name in driven:
            expected = "joints that the policy does not drive"
            problems.append(Problem("", "parameter command.held_joints", expected, name))
    if problems:
        raise Refusal(problems)
    gains: dict[str, dict[str, float]] = {robot[name].name: {} for name in spec.joint_names}
    for key in ("stiffness", "damping"):
        given = getattr(spec, key)
        if given is not None:
            numbers = by_name(given, spec.joint_names, file, key)
            for name, number in zip(spec.joint_names, numbers.tolist(), strict=True):
                gains[robot[name].name][key] = number
    return CommandFormat(
        type=command.type,
        twist_type=command.twist_type,
        period_ns=period_ns,
        held=held,
        layout=command.layout,
        gains=gains,
        message_type=command.message_type,
        fields=command.fields,
        constants=command.constants,
        stiffness_fields=command.stiffness_fields,
        damping_fields=command.damping_fields,
        stamped=command.stamp == "now",
    )


def _no_place_for_held(message: str, kind: str) -> list[Problem | str]:
    """Return a problem if the message has no place for held joints.

    They would otherwise be dropped silently.

    Args:
        message: value of the parameter `command.type`.
        kind: kind of the policy's first elements.
    """
    key = "parameter command.held_joints"
    if kind not in JOINT_KINDS:
        return [
            Problem("", key, "none, since the policy commands no joints first", f"{kind} first")
        ]
    remedies = {"float64": "publish theirs from elsewhere", "message": "use command.constants"}
    if message not in remedies:
        return []
    got = f"some for command.type {message}, which has no place for them"
    return [Problem("", key, "none", got, remedies[message])]


class _NoNode:
    """Stands in for a node in a check; creates no publisher, and notes the topics."""

    def __init__(self) -> None:
        self.topics: list[str] = []

    def create_publisher(
        self, _class: object, topic: str, *_arguments: object, **_named: object
    ) -> Any:
        self.topics.append(topic)
        return None


def command_problems(loaded: LoadedPolicy) -> list[Problem | str]:
    """Return every reason why the command cannot be published with these parameters."""
    return _judge(loaded)[0]


def command_topics(loaded: LoadedPolicy) -> list[str]:
    """Return the relative topics that the policy is commanded on with these parameters.

    Of a command that cannot be published, these are the topics before the refusal.
    """
    return _judge(loaded)[1]


def _judge(loaded: LoadedPolicy) -> tuple[list[Problem | str], list[str]]:
    node = _NoNode()
    problems: list[Problem | str] = []
    command, spec, file = loaded.config.command, loaded.spec, str(loaded.spec_file.path)
    pipeline, joints = loaded.pipeline, loaded.joints
    pd = None
    if command.effort_from_pd:
        with collect(problems):
            pd = EffortFromPd(spec, file, pipeline.elements, list(pipeline.slots.values()))
    with collect(problems):
        form = command_format(command, spec, file, joints, pipeline.settings.period_ns)
        order = command.joint_names
        CommandPublisher(node, COMMAND_TOPIC, form, pipeline.elements, joints, order, pd)
    return problems, node.topics
