"""The parameters `command.*`, read into one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policy_runner.core.joints import RobotJoint
from policy_runner.core.named_numbers import by_name
from policy_runner.core.problems import Problem, Refusal
from policy_runner.core.spec import PolicySpec
from policy_runner.ros.command_messages import CommandFormat


def command_format(
    values: Mapping[str, Any],
    spec: PolicySpec,
    file: str,
    robot: Mapping[str, RobotJoint],
    period_ns: int,
) -> CommandFormat:
    """How the receiver wants its commands.

    Raises:
        Refusal: a held joint that the policy drives, or that is not `name=value`.
    """
    problems = []
    held: dict[str, float] = {}
    driven = {
        robot[name].name
        for tensor in spec.action
        for group in tensor.groups
        for name in group.names
        if name in robot
    }
    for text in values["command.held_joints"]:
        name, _, number = text.partition("=")
        try:
            held[name.strip()] = float(number)
        except ValueError:
            expected = "`joint=number` each"
            problems.append(Problem("", "parameter command.held_joints", expected, f"'{text}'"))
        if name.strip() in driven:
            expected = "joints that the policy does not drive"
            problems.append(Problem("", "parameter command.held_joints", expected, name.strip()))
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
        type=values["command.type"],
        twist_type=values["command.twist_type"],
        period_ns=period_ns,
        held=held,
        layout=tuple(values["command.layout"]),
        gains=gains,
        message_type=values["command.message_type"],
        fields=tuple(values["command.fields"]),
        constants=tuple(values["command.constants"]),
        stiffness_fields=tuple(values["command.stiffness_fields"]),
        damping_fields=tuple(values["command.damping_fields"]),
    )
