"""Reading `policy.yaml`: every problem of the file at once, each with its key."""

from __future__ import annotations

import types
import typing
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from policy_runner.core.problems import Problem, Refusal, did_you_mean, refuse
from policy_runner.core.spec import PolicySpec


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
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise refuse(str(self.path), key, "a file inside the spec's folder", name)
        return path


class _UniqueKeyLoader(yaml.SafeLoader):  # type: ignore[misc,unused-ignore]
    """Safe loading, and a key given twice is an error instead of the last one winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for k, key in enumerate(keys):
            if key in keys[:k]:
                line = node.value[k][0].start_mark.line + 1
                raise yaml.YAMLError(f"key '{key}' twice (line {line})")
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


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
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise refuse(str(path), "", "YAML", text) from error
    if not isinstance(content, dict):
        raise refuse(str(path), "", "a mapping of keys", type(content).__name__)
    try:
        spec = PolicySpec.model_validate(content)
    except ValidationError as error:
        raise Refusal(_problem(str(path), item) for item in error.errors()) from error
    problems = _cross_checks(spec, str(path))
    if problems:
        raise Refusal(problems)
    return SpecFile(spec, path)


def _problem(file: str, error: Any) -> Problem:
    kind, context = error["type"], error.get("ctx", {})
    key = _key(error["loc"])
    if kind == "extra_forbidden":
        last = str(error["loc"][-1])
        return Problem(file, key, "a known key", f"'{last}'", did_you_mean(last, _known_keys()))
    if kind == "missing":
        return Problem(file, key, "this key", "nothing")
    got = repr(error["input"])
    if len(got) > 80:
        got = got[:77] + "..."
    expected = {
        "literal_error": context.get("expected", ""),
        "union_tag_invalid": f"one of {context.get('expected_tags', '')}",
        "string_pattern_mismatch": f"text like {context.get('pattern', '')}",
    }.get(kind) or error["msg"].removeprefix("Input should be ")
    return Problem(file, key, expected, got)


def _key(location: tuple[Any, ...]) -> str:
    """`observation[0].terms[2].joints`: pydantic's union tags are no keys of the file."""
    text = ""
    for k, part in enumerate(location):
        if isinstance(part, int):
            text += f"[{part}]"
        elif k and isinstance(location[k - 1], int) and part in _tags():
            continue
        elif part not in _UNION_BRANCHES and "[" not in part:
            text += f".{part}" if text else part
    return text


_UNION_BRANCHES = {"float", "int", "str", "Normalization", "literal['none','in_model']"}


def _tags() -> set[str]:
    return {
        *("field", "velocity_command", "projected_gravity", "joint_position", "joint_velocity"),
        *("joint_effort", "last_action", "constant"),
    }


def _known_keys() -> set[str]:
    keys: set[str] = set()
    seen: set[type] = set()

    def visit(annotation: Any) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if annotation in seen:
                return
            seen.add(annotation)
            for name, info in annotation.model_fields.items():
                keys.add(info.alias or name)
                visit(info.annotation)
        elif typing.get_origin(annotation) is not None or isinstance(annotation, types.UnionType):
            for part in typing.get_args(annotation):
                visit(part)

    visit(PolicySpec)
    return keys


def _cross_checks(spec: PolicySpec, file: str) -> list[Problem]:
    problems = []
    names = spec.joint_names
    for joint in sorted({name for name in names if names.count(name) > 1}):
        problems.append(Problem(file, "joint_names", "every joint once", f"'{joint}' twice"))
    for key in ("default_joint_pos", "stiffness", "damping"):
        values = getattr(spec, key)
        if values is not None and len(values) != len(names):
            expected = f"{len(names)} numbers, one per joint of joint_names"
            problems.append(Problem(file, key, expected, f"{len(values)}"))
    tensors = [tensor.tensor for tensor in spec.observation] + [s.input for s in spec.state]
    for name in sorted({name for name in tensors if tensors.count(name) > 1}):
        problems.append(Problem(file, "observation", "every tensor once", f"'{name}' twice"))
    return problems
