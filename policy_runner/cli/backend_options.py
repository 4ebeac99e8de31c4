"""Options that choose the inference backend: a parameter file, and `--set NAME=VALUE` over it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import yaml

from policy_runner.backends.interface import BackendChoice
from policy_runner.cli.command_parser import add_params, node_of
from policy_runner.core.errors import Problem, Refusal, did_you_mean
from policy_runner.core.spec import SpecFile
from policy_runner.core.spec.elements import action_elements
from policy_runner.robot.parameters.backend import BACKEND_TABLE
from policy_runner.robot.parameters.parameter import Parameter, problem
from policy_runner.robot.values import parameter_values


def add_choice_options(parser: argparse.ArgumentParser) -> None:
    """Add --params with --name and --namespace, and --set."""
    add_params(parser)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="sets",
                        help="a backend parameter, over the file's value; may be repeated:"
                        " --set precision=fp16 --set engines.folder=/data/engines")  # fmt: skip


def choice_from(arguments: argparse.Namespace, spec_file: SpecFile | None) -> BackendChoice:
    """Return the backend choice of a node with these parameters.

    Raises:
        Refusal: names every invalid parameter.
    """
    problems: list[Problem | str] = []
    spec = spec_file.spec if spec_file is not None else None
    elements: Any = action_elements(spec, str(spec_file.path)) if spec and spec_file else ()
    values, _ = parameter_values(arguments.params, spec, elements, problems, node_of(arguments))
    rows = {row.name: row for row in BACKEND_TABLE}
    values.update(_set_values(arguments.sets, rows, problems))
    if problems:
        raise Refusal(problems)
    return BackendChoice.of(values)


def _set_values(
    sets: Sequence[str], rows: dict[str, Parameter], problems: list[Problem | str]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for given in sets:
        name, equals, text = given.partition("=")
        if not equals or name not in rows:
            hint = did_you_mean(name, rows)
            problems.append(Problem("", "--set", "NAME=VALUE of a backend parameter", given, hint))
            continue
        row = rows[name]
        value: Any = text if row.kind == "str" else yaml.safe_load(text)
        if row.kind == "float" and type(value) is int:
            value = float(value)
        bad = problem(row, value)
        if bad:
            problems.append(bad)
        values[name] = value
    return values
