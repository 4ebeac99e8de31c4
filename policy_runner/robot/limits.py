"""Builds limits, stops and start settings from the robot's configuration and the spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.settings import CommandLimits, StopRule
from policy_runner.core.spec import Limit, PolicySpec, SpecFile
from policy_runner.core.spec.elements import (
    ActionElement,
    action_elements,
    limit_names,
    limits_by_element,
)
from policy_runner.robot.config import RobotConfig
from policy_runner.robot.parameters.policy import limit_prefix

Problems = list[Problem | str]


def set_limits(
    config: RobotConfig, spec: PolicySpec, elements: Sequence[ActionElement], file: str = ""
) -> list[Limit]:
    """Return the limit of each element: from the parameters, else from the policy spec.

    `file` is the path of the spec, for errors.

    Raises:
        Refusal: limits of the policy spec match no element, or contradict each other.
    """
    known = limits_by_element(spec.limits, elements, file)
    names = limit_names(elements)
    return [config.limits[name].or_else(limit) for name, limit in zip(names, known, strict=True)]


def command_limits(
    config: RobotConfig,
    spec: PolicySpec,
    elements: Sequence[ActionElement],
    period_ns: int,
) -> CommandLimits:
    """Return the bounds of each element, and its largest step in one nominal control period.

    Raises:
        Refusal: names every limit with lower > upper, or whose bounds do not allow a stop at 0.
    """
    limits = set_limits(config, spec, elements)
    low = np.array([-np.inf if one.lower is None else one.lower for one in limits])
    high = np.array([np.inf if one.upper is None else one.upper for one in limits])
    rate = np.array([np.inf if one.max_rate is None else one.max_rate for one in limits])
    problems: Problems = []
    for k, (name, element) in enumerate(zip(limit_names(elements), elements, strict=True)):
        prefix = limit_prefix(name, element.kind)
        if low[k] > high[k]:
            key = f"parameter {prefix}.lower"
            problems.append(Problem("", key, f"at most upper ({high[k]:g})", f"{low[k]:g}"))
        elif element.kind != "position" and not low[k] <= 0.0 <= high[k]:
            key = f"parameters {prefix}.lower, upper"
            expected = f"bounds around 0, since a {element.kind} must be able to stop"
            problems.append(Problem("", key, expected, f"[{low[k]:g}, {high[k]:g}]"))
    if problems:
        raise Refusal(problems)
    return CommandLimits(low, high, rate * period_ns / 1e9)


def stop_rule(
    config: RobotConfig,
    spec: PolicySpec,
    elements: Sequence[ActionElement],
    limits: CommandLimits,
) -> StopRule:
    """Return the rule for the commands of HOLD and SAFE_STOP.

    Raises:
        Refusal: this command cannot carry out the stop, or the stop holds a velocity, effort,
            twist or value without `allow_runaway_hold`.
    """
    problems: Problems = []
    stop = config.stop
    for kind, manner in stop.kinds.items():
        if manner == "hold" and not stop.allow_runaway_hold:
            remedy = "set allow_runaway_hold if the robot shall continue to move"
            problems.append(Problem("", f"parameter stop.{kind}", "zero", "hold", remedy))
    key, position = "parameter stop.position", stop.position
    indices = [k for k, element in enumerate(elements) if element.kind == "position"]
    if position != "hold" and not indices:
        problems.append(Problem("", key, "hold, as no position is commanded", position))
    elif position != "hold" and config.command.effort_from_pd:
        expected = "hold, since command.effort_from_pd publishes efforts"
        problems.append(Problem("", key, expected, position, "see stop.effort"))
    elif position == "default_pose":
        if spec.default_joint_pos is None:
            expected = "hold, since the policy spec has no default_joint_pos"
            problems.append(Problem("", key, expected, position))
        elif stop.ramp_ns <= 0 and not np.all(np.isfinite(limits.max_step[indices])):
            expected = "a time, or max_rate for every joint, to prevent a jump to the pose"
            problems.append(Problem("", "parameter stop.ramp_s", expected, "0"))
    elif position == "damping" and not config.command.carries_gains:
        expected = (
            "hold or default_pose, unless the command carries stiffness and damping: in "
            "command.layout of a float64_multi_array, or in command.stiffness_fields and "
            "command.damping_fields of a message"
        )
        problems.append(Problem("", key, expected, position))
    if problems:
        raise Refusal(problems)
    return StopRule(position, ramp_ns=stop.ramp_ns, **stop.kinds)


def start_settings(
    config: RobotConfig, spec: PolicySpec, elements: Sequence[ActionElement]
) -> dict[str, Any]:
    """Return the settings of the move to the start pose and of the blend.

    Raises:
        Refusal: a move or blend is configured, but no position is commanded, or the spec has no
            `default_joint_pos`.
    """
    problems: Problems = []
    positions = any(element.kind == "position" for element in elements)
    start = config.start
    times = {"start_pose.duration": start.duration_ns, "blend_in": start.blend_in_ns}
    for name, time_ns in times.items():
        if time_ns > 0 and not positions:
            expected = "0, as no position is commanded"
            problems.append(Problem("", f"parameter {name}", expected, f"{time_ns / 1e9:g}"))
    if start.duration_ns > 0 and positions and spec.default_joint_pos is None:
        expected = "0, or a policy spec with default_joint_pos"
        got = f"{start.duration_ns / 1e9:g}"
        problems.append(Problem("", "parameter start_pose.duration", expected, got))
    if problems:
        raise Refusal(problems)
    # In a dry run no command would move the robot to the pose.
    return {
        "start_pose_ns": 0 if config.loop.dry_run else start.duration_ns,
        "start_pose_tolerance": start.tolerance,
        "blend_in_ns": start.blend_in_ns,
    }


def with_urdf_limits(
    spec_file: SpecFile, config: RobotConfig, joints: Mapping[str, RobotJoint]
) -> SpecFile:
    """Return the spec, with limits from the URDF that neither parameters nor spec give.

    With `command.effort_from_pd`, the URDF's efforts become `effort_limit` if the spec has none.

    Args:
        spec_file: the policy's spec.
        config: its `limits_urdf` names the source; empty: the spec is returned unchanged.
        joints: policy joint name -> joint of the robot.

    Raises:
        Refusal: the URDF cannot be read, or does not match the robot.
    """
    source = config.limits_urdf
    if not source:
        return spec_file
    from policy_runner.robot.urdf import limits_of_urdf, read_urdf, read_urdf_file

    spec, file = spec_file.spec, str(spec_file.path)
    elements = action_elements(spec, file)
    if source == "topic":
        text, origin = config.robot_description, "robot_description"
        if text is None:
            raise refuse("", "parameter limits.urdf", "a URDF received in configure", "none")
        urdf = read_urdf(text, origin)
    else:
        urdf, origin = read_urdf_file(Path(source)), source
    said = set_limits(config, spec, elements, file)
    found = limits_of_urdf(urdf, elements, joints, said, origin)
    names = limit_names(elements)
    known = dict(zip(names, limits_by_element(spec.limits, elements, file), strict=True))
    merged = {name: limit.or_else(found.get(name, Limit())) for name, limit in known.items()}
    changed: dict[str, Any] = {"limits": merged}
    if spec.effort_limit is None and config.command.effort_from_pd:
        efforts = {name: urdf[robot.name].effort for name, robot in joints.items()
                   if robot.name in urdf}  # fmt: skip
        changed["effort_limit"] = {
            name: np.inf if efforts.get(name) is None else efforts[name] for name in joints
        }
    return SpecFile(spec.model_copy(update=changed), spec_file.path)
