"""The parameters that a policy adds, computed before any of them is declared.

A refused policy must not change the node's parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from policy_runner.core.errors import Refusal
from policy_runner.core.spec import SpecFile
from policy_runner.core.spec.elements import action_elements
from policy_runner.robot.parameter_files import unknown_keys
from policy_runner.robot.parameters.parameter import Parameter, problem
from policy_runner.robot.parameters.policy import PREFIXES, policy_rows
from policy_runner.ros.parameters.declared import DeclaredParameters


@dataclass
class PolicyParameters:
    """The future values by name, with their problems and warnings; `commit` declares them."""

    values: dict[str, Any]
    problems: list[Any] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _rows: Sequence[Parameter] = ()
    _leaving: Sequence[str] = ()
    _kept: dict[str, Any] = field(default_factory=dict)

    def commit(self, parameters: DeclaredParameters) -> None:
        """Undeclare the rows that the policy does not have, and declare those that it adds."""
        parameters.forget(self._leaving)
        parameters.declare(self._rows, self._kept)


def policy_parameters(
    parameters: DeclaredParameters,
    present: dict[str, Any],
    spec_file: SpecFile,
    overrides: Sequence[str],
    arguments: list[str],
) -> PolicyParameters:
    """Compute the parameters of this policy.

    A value that was set stays, if the policy has that parameter. A value that was not set comes
    from YAML, or else is the policy's default.

    Args:
        parameters: the node's.
        present: the present values by name.
        spec_file: the policy's.
        overrides: names of all values that YAML and the command line give.
        arguments: of the process; they name the parameter files.
    """
    problems: list[Any] = []
    elements = []
    try:
        elements = action_elements(spec_file.spec, str(spec_file.path))
    except Refusal as refusal:
        problems += refusal.problems
    rows = policy_rows(spec_file.spec, elements)
    wanted = {row.name for row in rows}
    leaving = [name for name in present if name.startswith(PREFIXES) and name not in wanted]
    values = {name: value for name, value in present.items() if name not in leaving}
    kept: dict[str, Any] = {}
    for row in rows:
        if row.name in present:
            before = parameters.row(row.name)
            if before == row:
                continue
            leaving.append(row.name)
            if present[row.name] != _unless_set(parameters, before):
                kept[row.name] = present[row.name]
                bad = "" if kept[row.name] is None else problem(row, kept[row.name])
                problems += [bad] if bad else []
                continue
        bad = parameters.override(row)[1]
        problems += [bad] if bad else []
        values[row.name] = _unless_set(parameters, row)
    refused, warnings = unknown_keys(set(overrides), tuple(values), arguments, parameters.node_name)
    problems += refused
    return PolicyParameters(values, problems, warnings, rows, leaving, kept)


def _unless_set(parameters: DeclaredParameters, row: Parameter) -> Any:
    given = parameters.override(row)[0]
    value = row.default if given is None else given
    return list(value) if row.kind.endswith("[]") and value is not None else value


def live_values(
    parameters: DeclaredParameters,
    configured: Mapping[str, Any],
    changed: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the present values of the live rows, by name.

    All other rows keep the values that `configure` read, because they cannot be set before
    *cleanup*.

    Args:
        parameters: the node's.
        configured: the values that the policy was configured with.
        changed: values that are being set and that `parameters` does not have yet.
    """
    present = {**parameters.values(), **(changed or {})}
    return {
        name: value
        for name, value in present.items()
        if name in configured and parameters.row(name).live
    }
