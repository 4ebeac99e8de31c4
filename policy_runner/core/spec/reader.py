"""Reading `policy.yaml`: every problem of the file at once, each with its key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.files.bounded import MOST_SPEC, beside
from policy_runner.core.files.safe_yaml import load_yaml
from policy_runner.core.spec.element_limits import limits_by_element
from policy_runner.core.spec.elements import action_elements
from policy_runner.core.spec.named_numbers import by_name
from policy_runner.core.spec.policy import PolicySpec
from policy_runner.core.spec.todos import todo_problems, without_todos
from policy_runner.core.spec.validation_errors import spec_problems

MOST_PROBLEMS = 100  # that are told; each is looked at for what was meant


@dataclass(frozen=True)
class SpecFile:
    """A spec and where it was read from; other files are looked up inside `folder`."""

    spec: PolicySpec
    path: Path

    @property
    def folder(self) -> Path:
        """The spec's folder."""
        return self.path.parent

    def beside(self, name: str, key: str) -> Path:
        """The path of a file that the spec names.

        Raises:
            Refusal: it lies outside the spec's folder.
        """
        return beside(self.path, name, key)


class _Loader(yaml.SafeLoader):  # type: ignore[misc,unused-ignore]
    """`on`, `off`, `yes` and `no` are text, as in YAML 1.2: `on` is a key of ours."""


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    _BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def read_spec(path: Path) -> SpecFile:
    """Read and validate one spec; a folder means the `policy.yaml` in it.

    Raises:
        Refusal: with every problem found.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        path = path / "policy.yaml"
    if not path.is_file():
        raise refuse(str(path), "", "a policy spec (policy.yaml)", "no such file")
    content = load_yaml(path, _Loader, MOST_SPEC, "YAML")
    if not isinstance(content, dict):
        got = "an empty file" if content is None else type(content).__name__
        raise refuse(str(path), "", "a mapping of keys", got)
    todos = todo_problems(content, str(path))
    try:
        spec = PolicySpec.model_validate(content)
    except ValidationError as error:
        errors = error.errors()
        found = spec_problems(content, errors[:MOST_PROBLEMS], str(path))
        more = len(errors) - MOST_PROBLEMS
        rest = [f"{path}: and {more} more problems"] if more > 0 else []
        raise Refusal([*todos, *without_todos(found, content), *rest]) from error
    problems = [*todos, *_cross_checks(spec, str(path))]
    if problems:
        raise Refusal(problems)
    return SpecFile(spec, path)


def _cross_checks(spec: PolicySpec, file: str) -> list[Problem | str]:
    problems: list[Problem | str] = []
    names = spec.joint_names
    for joint in sorted({name for name in names if names.count(name) > 1}):
        problems.append(Problem(file, "joint_names", "every joint once", f"'{joint}' twice"))
    for key in ("default_joint_pos", "stiffness", "damping", "effort_limit"):
        values = getattr(spec, key)
        if values is not None:
            try:
                by_name(values, names, file, key)
            except Refusal as refusal:
                problems += refusal.problems
    if spec.limits:
        problems += _limit_problems(spec, file)
    outputs = [str(tensor.tensor) for tensor in spec.action]
    for name in sorted({name for name in outputs if outputs.count(name) > 1}):
        problems.append(Problem(file, "action", "every tensor once", f"'{name}' twice"))
    tensors = [str(tensor.tensor) for tensor in spec.observation]
    tensors += [str(state.input) for state in spec.state]
    for name in sorted({name for name in tensors if tensors.count(name) > 1}):
        problems.append(Problem(file, "observation", "every tensor once", f"'{name}' twice"))
    for k, tensor in enumerate(spec.observation):
        key = f"observation[{k}]"
        given = [n for n in ("terms", "whole", "constant") if getattr(tensor, n) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            problems.append(Problem(file, key, "one of `terms`, `whole`, `constant`", got))
        if tensor.terms is not None and tensor.normalization is None:
            expected = "this key: none, in_model, or statistics"
            problems.append(Problem(file, f"{key}.normalization", expected, "nothing"))
    return problems


def _limit_problems(spec: PolicySpec, file: str) -> list[Problem | str]:
    try:
        elements = action_elements(spec, file)
    except Refusal:  # told where the action is bound
        return []
    try:
        limits_by_element(spec.limits, elements, file)
    except Refusal as refusal:
        return list(refusal.problems)
    return []
