"""The elements of an action: joints, axes or names, with their kinds and limits."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from policy_runner.core.errors import Problem, Refusal, did_you_mean, refuse
from policy_runner.core.model import Array
from policy_runner.core.spec.action import ActionGroup
from policy_runner.core.spec.base import NO_LIMIT, Limit
from policy_runner.core.spec.named_numbers import by_name, matching_names
from policy_runner.core.spec.policy import AbsentJoint, PolicySpec


class Kind(NamedTuple):
    """The properties of one kind of command. Other modules derive theirs from this table."""

    unit: str
    plural: str  # for the description of the stop parameter
    limits: str  # prefix of the parameters with its limits
    of_joints: bool  # its elements are joints, by name


# To add a kind, add a row here, a name in `ActionGroup.kind`, and a stop in
# `core.settings.StopRule`.
KINDS = {
    "position": Kind("rad", "positions", "joints.", True),
    "velocity": Kind("rad/s", "velocities", "joints.", True),
    "effort": Kind("N m", "efforts, computed ones too", "joints.", True),
    "twist": Kind("m/s, rad/s", "twists", "twist.", False),
    "value": Kind("the policy's unit", "values", "values.", False),
}


@dataclass(frozen=True)
class ActionElement:
    """One element of the action: its joint and its kind."""

    joint: str  # for a twist its axis, such as linear.x; for a value its name
    kind: str  # position | velocity | effort | twist | value


def absent_joints(spec: PolicySpec, file: str) -> dict[str, AbsentJoint]:
    """The joints that this robot lacks, by name, with the constants that stand for them.

    Raises:
        Refusal: a key matches no joint, two keys match one, or a pose is named that is not there.
    """
    found: dict[str, AbsentJoint] = {}
    names = spec.joint_names
    for key, constants in spec.absent_joints.items():
        where = f"absent_joints.{key}"
        matching = [key] if key in names else matching_names(key, names, file, where)
        for name in matching:
            if name in found:
                raise refuse(file, where, f"one key for '{name}'", "another one, too")
            found[name] = constants
        if constants.position == "default_joint_pos" and spec.default_joint_pos is None:
            raise refuse(file, f"{where}.position", "`default_joint_pos` in the spec", "none")
    return found


def kept_elements(group: ActionGroup, absent: Container[str]) -> list[int]:
    """Indices of a group's names that are commanded: all except absent joints."""
    if group.kind in ("twist", "value"):
        return list(range(len(group.names)))
    return [k for k, name in enumerate(group.names) if name not in absent]


def action_elements(spec: PolicySpec, file: str) -> list[ActionElement]:
    """Every commanded element of the action, tensor by tensor, group by group.

    Joints that this robot lacks (`absent_joints`) are not among them.

    Raises:
        Refusal: a joint is unknown, a joint is commanded twice in one kind, or a group does not
            name what its kind needs.
    """
    elements: list[ActionElement] = []
    problems: list[Problem | str] = []
    absent = absent_joints(spec, file) if spec.absent_joints else {}
    for t, tensor in enumerate(spec.action):
        for g, group in enumerate(tensor.groups):
            which = {"twist": "axes", "value": "elements"}.get(group.kind, "joints")
            where = f"action[{t}].groups[{g}]"
            for other in ("joints", "axes", "elements"):
                if (getattr(group, other) is None) == (other == which):
                    got = "none" if other == which else f"`{other}`"
                    expected = f"only `{which}`, for kind {group.kind}"
                    problems.append(Problem(file, where, expected, got))
            for k, joint in enumerate(group.names):
                key = f"{where}.{which}[{k}]"
                element = ActionElement(joint, group.kind)
                if which == "joints" and joint not in spec.joint_names:
                    expected = f"a joint of joint_names ({', '.join(spec.joint_names)})"
                    hint = did_you_mean(joint, spec.joint_names)
                    problems.append(Problem(file, key, expected, f"'{joint}'", hint))
                elif element in elements:
                    whose = "joint's " if which == "joints" else ""
                    expected = f"each {whose}{group.kind} commanded once"
                    problems.append(Problem(file, key, expected, f"'{joint}' again"))
                elements.append(element)
    if problems:
        raise Refusal(problems)
    if not absent:
        return elements
    kept = [one for one in elements if not (KINDS[one.kind].of_joints and one.joint in absent)]
    if not kept:
        raise refuse(file, "absent_joints", "at least one commanded joint that is there", "none")
    return kept


def default_pose(spec: PolicySpec, joints: Sequence[str], file: str) -> Array:
    """`default_joint_pos` of these joints, float64 [joints] [rad]. The spec must have one."""
    assert spec.default_joint_pos is not None
    pose = by_name(spec.default_joint_pos, spec.joint_names, file, "default_joint_pos")
    return pose[[spec.joint_names.index(joint) for joint in joints]]


def limit_names(elements: Sequence[ActionElement]) -> list[str]:
    """The name of each element's limits: its joint, axis or name.

    If a joint is commanded in several kinds, it is `<joint>.<kind>`, because their units differ.
    """
    joints = [element.joint for element in elements]
    return [e.joint if joints.count(e.joint) == 1 else f"{e.joint}.{e.kind}" for e in elements]


def limits_by_element(
    limits: Mapping[str, Limit], elements: Sequence[ActionElement], file: str
) -> list[Limit]:
    """The limits of each element.

    An exact name has priority over a pattern. An element may have no limits.

    Args:
        limits: by a name of `limit_names`, or by a pattern that matches whole names.
        elements: the elements of the action.
        file: the file with the limits, for error messages.

    Raises:
        Refusal: a key matches nothing, several patterns match one name, or lower is above upper.
    """
    names = limit_names(elements)
    problems: list[Problem | str] = []
    found: list[list[str]] = [[] for _ in names]
    for key, limit in limits.items():
        try:
            matching = [k for k, name in enumerate(names) if re.fullmatch(key, name)]
        except re.error:
            matching = []
        matching = [names.index(key)] if key in names else matching
        if not matching:
            expected = f"a name or pattern of {', '.join(names[:40])}"
            hint = did_you_mean(key, names)
            problems.append(Problem(file, "limits", expected, f"'{key}'", hint))
        if limit.lower is not None and limit.upper is not None and limit.lower > limit.upper:
            expected = f"at most upper ({limit.upper:g})"
            problems.append(Problem(file, f"limits.{key}.lower", expected, f"{limit.lower:g}"))
        for k in matching:
            found[k].append(key)
    result = []
    for name, keys in zip(names, found, strict=True):
        chosen = [name] if name in keys else keys
        if len(chosen) > 1:
            got = " and ".join(f"'{key}'" for key in chosen)
            problems.append(Problem(file, "limits", f"one pattern for '{name}'", got))
        result.append(limits[chosen[0]] if chosen else NO_LIMIT)
    if problems:
        raise Refusal(problems)
    return result
