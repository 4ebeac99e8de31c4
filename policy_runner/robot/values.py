"""Reads the node's parameters from a file without a node, with the node's checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from policy_runner.core.errors import Problem, collect
from policy_runner.core.spec import PolicySpec
from policy_runner.core.spec.elements import ActionElement
from policy_runner.robot.parameter_files import section_problems, unknown_keys
from policy_runner.robot.parameter_yaml import Section, read_parameter_file, section_fits
from policy_runner.robot.parameters.parameter import Parameter, problem
from policy_runner.robot.parameters.policy import PREFIXES, policy_rows
from policy_runner.robot.parameters.runner import TABLE

NODE = "/policy_runner"
_OTHER_NODE = "or say which node it is for: --name, --namespace"


def sections_of(
    path: Path, node: str, problems: list[Problem | str]
) -> tuple[list[Section], list[Section]]:
    """Return the sections of a file that match a node, and the other sections.

    Args:
        path: the parameter file.
        node: fully qualified node name.
        problems: problems of the file are added; an unreadable file has no sections.
    """
    sections: list[Section] = []
    with collect(problems):
        sections = read_parameter_file(path)
        problems += section_problems(_arguments(path), node, remedy=_OTHER_NODE)
    fitting = [section for section in sections if section_fits(section.name, node)]
    return fitting, [section for section in sections if section not in fitting]


def _arguments(path: Path) -> list[str]:
    return ["--ros-args", "--params-file", str(path)]


def parameter_values(
    path: Path | None,
    spec: PolicySpec | None,
    elements: Sequence[ActionElement],
    problems: list[Problem | str],
    node: str = NODE,
) -> tuple[dict[str, Any], list[str]]:
    """Return every parameter's value.

    A parameter has its default if the file has no value for it, or an invalid one.

    Args:
        path: the parameter file; None: all defaults.
        spec: the policy's spec, which adds rows; None: unknown.
        elements: elements of the policy's command.
        problems: problems of the file and its values are added.
        node: fully qualified node name, which selects the sections.

    Returns:
        The values by name, and the warnings.
    """
    overrides: dict[str, Any] = {}
    for section in sections_of(path, node, problems)[0] if path is not None else ():
        overrides.update(section.keys)
    rows: list[Parameter] = [*TABLE, *(policy_rows(spec, elements) if spec is not None else ())]
    values: dict[str, Any] = {}
    for row in rows:
        value = list(row.default) if isinstance(row.default, tuple) else row.default
        if row.name in overrides:
            bad = problem(row, overrides[row.name])
            if bad:
                problems.append(f"{path}: {bad}")
            elif overrides[row.name] != []:  # ROS treats an empty list as "no value"
                value = row.given(overrides[row.name])
        values[row.name] = value
    values["use_sim_time"] = overrides.get("use_sim_time") is True  # rclpy's own
    if path is None:
        return values, []
    known = [row.name for row in rows]
    if spec is None:  # the inputs and joints are unknown
        overrides = {k: v for k, v in overrides.items() if not k.startswith(PREFIXES)}
    refused, warned = unknown_keys(overrides, known, _arguments(path), node)
    problems += [f"{path}: {text}" for text in refused]
    return values, [f"{path}: {text}" for text in warned]
