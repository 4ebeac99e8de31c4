"""Read `policy.yaml`; report every problem of the file at once, each with its key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.files.bounded import MOST_SPEC, next_to
from policy_runner.core.files.safe_yaml import load_yaml
from policy_runner.core.spec.action import Chunk
from policy_runner.core.spec.elements import action_elements, limits_by_element
from policy_runner.core.spec.models import Model
from policy_runner.core.spec.motion_terms import Motion
from policy_runner.core.spec.named_numbers import by_name
from policy_runner.core.spec.parts import ModelFile, model_files, several_problems
from policy_runner.core.spec.policy import PolicySpec
from policy_runner.core.spec.tensors import Normalization, StoredTensor
from policy_runner.core.spec.validation_errors import spec_problems

MOST_PROBLEMS = 100  # reported at once; limited because the search for suggestions takes time


@dataclass(frozen=True)
class SpecFile:
    """A spec and the path of its file. Its other files are in `folder`."""

    spec: PolicySpec
    path: Path

    @property
    def folder(self) -> Path:
        """The spec's folder."""
        return self.path.parent

    def next_to(self, name: str | None, key: str) -> Path:
        """The path of a file that the spec names.

        Args:
            name: path of the file, relative to the spec's folder; None: the spec names none.
            key: the key in the spec that names the file, for error messages.

        Raises:
            Refusal: the file is outside the spec's folder, or there is none.
        """
        if name is None:
            expected = "a file, since this needs the network itself"
            got = "only the `tensors` of a model on a server"
            remedy = "set backend: remote, or put the model's file into the folder"
            raise refuse(str(self.path), key, expected, got, remedy)
        return next_to(self.path, name, key)


class _Loader(yaml.SafeLoader):  # type: ignore[misc,unused-ignore]
    """Reads `on`, `off`, `yes` and `no` as text, as in YAML 1.2: `on` is a key of the spec."""


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    _BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def read_spec(path: Path) -> SpecFile:
    """Read and validate one spec.

    Args:
        path: the spec file, or a folder with a `policy.yaml`.

    Raises:
        Refusal: the spec has problems. It lists all of them.
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
                numbers = by_name(values, names, file, key)
            except Refusal as refusal:
                problems += refusal.problems
                continue
            if key != "default_joint_pos":
                problems += [
                    Problem(file, key, f"a number from 0 on for {name}", f"{number:g}")
                    for name, number in zip(names, numbers.tolist(), strict=True)
                    if number < 0.0
                ]
    if spec.limits:
        problems += _limit_problems(spec, file)
    for one in model_files(spec):
        problems += _model_problems(one, file)
        problems += one.placed(_tensor_problems(one.spec, file))
    if spec.chunk is not None:
        problems += _chunk_problems(spec, spec.chunk, file)
    return problems + several_problems(spec, file)


def _model_problems(one: ModelFile, file: str) -> list[Problem | str]:
    """Whether a model has either a file or the tensors of a server."""
    key, model = one.file_key.removesuffix("file"), one.model
    if (model.file is None) == (model.tensors is None):
        got = "nothing" if model.file is None else "both"
        return [Problem(file, f"{key}file", "a file, or `tensors` in place of it", got)]
    return [
        Problem(file, f"{key}{name}", "nothing, since there is no `file`", "checksums")
        for name in ("sha256", "data")
        if model.file is None and getattr(model, name) is not None
    ]


def _tensor_problems(spec: PolicySpec, file: str) -> list[Problem | str]:
    """The problems of the tensors of one model."""
    problems: list[Problem | str] = []
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


def _chunk_problems(spec: PolicySpec, chunk: Chunk, file: str) -> list[Problem | str]:
    problems: list[Problem | str] = []
    if chunk.steps is not None:
        problems += step_problems(chunk, chunk.steps, file)
    for t, tensor in enumerate(spec.action):
        for g, group in enumerate(tensor.groups):
            where = f"action[{t}].groups[{g}]"
            for key in ("argmax", "limit_torque", "rotate"):
                if getattr(group, key) is not None:
                    problems.append(Problem(file, f"{where}.{key}", "none in a chunk", "one"))
            if group.ema != 1.0:
                expected = "1 in a chunk, whose seams are smoothed by `chunk.seam`"
                problems.append(Problem(file, f"{where}.ema", expected, f"{group.ema:g}"))
    if chunk.rtc is not None and chunk.denoise is None:
        expected = "`chunk.denoise`, the flow that it guides"
        problems.append(Problem(file, "chunk.rtc", expected, "none"))
    if chunk.denoise is not None:
        if len(spec.action) != 1:
            got = f"{len(spec.action)}"
            problems.append(Problem(file, "action", "one tensor, the velocity of the flow", got))
        if spec.state:
            problems.append(Problem(file, "state", "none next to chunk.denoise", "one"))
        if chunk.previous is not None:
            expected = "none next to denoise: `rtc` continues the older chunk"
            problems.append(Problem(file, "chunk.previous", expected, "some"))
    rates = chunk.seam.catch_up_rate
    numbers = rates.values() if isinstance(rates, dict) else rates
    for number in [numbers] if isinstance(numbers, float) else numbers:
        if number <= 0.0:
            key = "chunk.seam.catch_up_rate"
            problems.append(Problem(file, key, "numbers above 0", f"{number:g}"))
    return problems


def step_problems(chunk: Chunk, steps: int, file: str) -> list[Problem | str]:
    """The problems of a chunk's indices.

    Args:
        chunk: the chunk of the spec.
        steps: T, the actions of one output.
        file: the spec file, for error messages.
    """
    most = steps - chunk.observed_index
    if most < 2:
        expected = f"at most {max(0, steps - 2)}, since the chunk has {steps} actions"
        return [Problem(file, "chunk.observed_index", expected, f"{chunk.observed_index}")]
    if chunk.n_action_steps is not None and chunk.n_action_steps > most:
        expected = f"at most {most}, the actions of a chunk from observed_index on"
        return [Problem(file, "chunk.n_action_steps", expected, f"{chunk.n_action_steps}")]
    return []


def _limit_problems(spec: PolicySpec, file: str) -> list[Problem | str]:
    try:
        elements = action_elements(spec, file)
    except Refusal:  # `build_pipeline` reports it
        return []
    try:
        limits_by_element(spec.limits, elements, file)
    except Refusal as refusal:
        return list(refusal.problems)
    return []


TODO = "TODO"


def todo_problems(content: object, file: str) -> list[Problem]:
    """One problem for every TODO in a file's content. A TODO that is aliased counts once."""
    seen: set[int] = set()
    problems = []
    for key, text in _texts("", content):
        if text.startswith(TODO) and id(text) not in seen:
            seen.add(id(text))
            expected = text.removeprefix(TODO).lstrip(": ") or "a value"
            problems.append(Problem(file, key, expected, "TODO"))
    return problems


def without_todos(problems: Iterable[Problem], content: object) -> list[Problem]:
    """Drop the problems at the places of TODOs, because the TODOs are already reported."""
    places = [key for key, text in _texts("", content) if text.startswith(TODO)]
    return [
        problem
        for problem in problems
        if not any(_within(problem.key, place) or _within(place, problem.key) for place in places)
    ]


def _within(key: str, place: str) -> bool:
    return key == place or key.startswith((f"{place}.", f"{place}["))


def _texts(key: str, content: Any) -> Iterator[tuple[str, str]]:
    if isinstance(content, str):
        yield key, content
    elif isinstance(content, Mapping):
        for name, value in content.items():
            yield from _texts(f"{key}.{name}" if key else str(name), value)
    elif isinstance(content, list):
        for k, value in enumerate(content):
            yield from _texts(f"{key}[{k}]", value)


def unchecked_files(spec: PolicySpec) -> list[str]:
    """The files without a sha256 in the spec, each once, in the order of the spec."""
    return list(dict.fromkeys(name for name, sha256 in _visit(spec) if sha256 is None))


def named_files(spec: PolicySpec) -> list[str]:
    """All files that a spec names, each once, in its order; without the weights of its models."""
    return list(dict.fromkeys(name for name, _ in _visit(spec)))


def _visit(part: Any) -> Iterator[tuple[str, str | None]]:
    """The name of every file, and the sha256 that the spec states."""
    if isinstance(part, (Model, Motion, StoredTensor)) and part.file:  # a remote model has none
        yield part.file, part.sha256
    if isinstance(part, Normalization) and isinstance(part.statistics, str):
        yield part.statistics, part.sha256
    if isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from _visit(getattr(part, name))
    elif isinstance(part, dict):
        for one in part.values():
            yield from _visit(one)
    elif isinstance(part, list):
        for one in part:
            yield from _visit(one)
