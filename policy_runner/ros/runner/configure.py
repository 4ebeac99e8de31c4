"""The checks of `configure` that look at parameters: each part is tried, every problem kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from policy_runner.core.errors import Problem, collect, refuse
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.settings import CommandLimits, InputRule, Settings
from policy_runner.core.spec import PolicySpec, SpecFile, read_spec
from policy_runner.robot.parameter_files import unknown_keys
from policy_runner.ros.parameters.parameter_table import DeclaredParameters
from policy_runner.ros.parameters.policy_parameters import PREFIXES, policy_parameters


def read_policy(path: str, problems: list[Problem | str]) -> SpecFile | None:
    if not path:
        expected = "the path of a policy.yaml or of its folder"
        problems.append(Problem("", "parameter policy", expected, "nothing"))
        return None
    with collect(problems):
        return read_spec(Path(path))
    return None


def declare_for_policy(
    node: Any,
    parameters: DeclaredParameters,
    spec_file: SpecFile | None,
    arguments: list[str],
    problems: list[Problem | str],
) -> list[str]:
    """Declare what this policy adds, find misspelt keys; returns warnings."""
    overrides = list(node._parameter_overrides)
    if spec_file is not None:
        given = policy_parameters(parameters, parameters.values(), spec_file, overrides, arguments)
        given.commit(parameters)
        problems += [*parameters.problems, *given.problems]
        return given.warnings
    # Without the policy nobody can say which inputs and joints there are.
    overrides = [name for name in overrides if not name.startswith(PREFIXES)]
    refused, warned = unknown_keys(overrides, parameters.names, arguments)
    problems += [*parameters.problems, *refused]
    return warned


def with_robot_types(spec_file: SpecFile, values: dict[str, Any]) -> SpecFile:
    inputs = {
        name: given.model_copy(update={"type": values[f"inputs.{name}.type"]})
        for name, given in spec_file.spec.inputs.items()
    }
    return SpecFile(spec_file.spec.model_copy(update={"inputs": inputs}), spec_file.path)


def name_type_parameters(
    problems: Sequence[Problem | str], trained: PolicySpec, values: Mapping[str, Any]
) -> list[Problem | str]:
    """Name the parameter in a problem with a type that it put in the place of the spec's."""
    changed = {
        values[f"inputs.{name}.type"]: (
            f"correct parameter inputs.{name}.type (the spec says {given.type})"
        )
        for name, given in trained.inputs.items()
        if values[f"inputs.{name}.type"] != given.type
    }

    def named(problem: Problem | str) -> Problem | str:
        if isinstance(problem, str):
            return problem
        for kind, text in changed.items():
            if problem.got == kind or (kind and problem.expected.endswith(kind)):
                remedy = f"{text}; {problem.remedy}" if problem.remedy else text
                return replace(problem, remedy=remedy)
        return problem

    return [named(problem) for problem in problems]


def check_stamped(slot: InputSlot, values: Mapping[str, Any]) -> None:
    """A stamp can only be strict where there is one.

    Raises:
        Refusal: the message has no header.
    """
    key = f"inputs.{slot.name}.strict_stamp"
    if values[key] and not slot.stamped:
        expected = f"false, since a {slot.spec.type} has no header"
        raise refuse("", f"parameter {key}", expected, "true")


def stand_in_settings(spec: PolicySpec) -> Settings:
    """Settings that nothing runs with: to build a pipeline when the real ones were refused."""
    rules = {name: InputRule(max_age_ns=1) for name in spec.inputs}
    return Settings(1, 1, rules, CommandLimits.none(0))
