"""The node's parameters from a file, checked as the node checks them, without a node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from policy_runner.core.errors import Problem
from policy_runner.core.spec import PolicySpec
from policy_runner.core.spec.elements import ActionElement
from policy_runner.robot.parameter_files import is_wildcard, parameter_sections, unknown_keys
from policy_runner.robot.parameters.parameter import Parameter, problem
from policy_runner.robot.parameters.policy import PREFIXES, policy_rows
from policy_runner.robot.parameters.runner import TABLE

NODE = "policy_runner"


def file_overrides(path: Path | None, problems: list[Problem | str]) -> dict[str, Any]:
    """What the file sets for the runner: a later section of it goes over an earlier one."""
    if path is None:
        return {}
    if not path.is_file():
        problems.append(Problem(str(path), "", "a parameters file", "no such file"))
        return {}
    try:
        yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        text = " ".join(str(error).split())
        problems.append(Problem(str(path), "", "a YAML parameters file", text))
        return {}
    found: dict[str, Any] = {}
    sections = 0
    for section, keys in parameter_sections(_arguments(path)):
        if section.rsplit("/", 1)[-1] == NODE or is_wildcard(section):
            sections += 1
            found.update(keys)
    if not sections:
        expected = f"a section for the node: {NODE}: ros__parameters: ..."
        problems.append(Problem(str(path), "", expected, "none"))
    return found


def _arguments(path: Path) -> list[str]:
    return ["--ros-args", "--params-file", str(path)]


def parameter_values(
    path: Path | None,
    spec: PolicySpec | None,
    elements: Sequence[ActionElement],
    problems: list[Problem | str],
) -> tuple[dict[str, Any], list[str]]:
    """Every parameter's value, the default where the file has none or a bad one; and warnings."""
    overrides = file_overrides(path, problems)
    rows: list[Parameter] = [*TABLE, *(policy_rows(spec, elements) if spec is not None else ())]
    values: dict[str, Any] = {}
    for row in rows:
        value = list(row.default) if isinstance(row.default, tuple) else row.default
        if row.name in overrides:
            bad = problem(row, overrides[row.name])
            if bad:
                problems.append(f"{path}: {bad}")
            else:
                value = overrides[row.name]
        values[row.name] = value
    values["use_sim_time"] = overrides.get("use_sim_time") is True  # rclpy's own
    if path is None:
        return values, []
    known = [row.name for row in rows]
    if spec is None:  # nobody can say which inputs and joints there are
        overrides = {k: v for k, v in overrides.items() if not k.startswith(PREFIXES)}
    refused, warned = unknown_keys(overrides, known, _arguments(path))
    problems += [f"{path}: {text}" for text in refused]
    return values, [f"{path}: {text}" for text in warned]
