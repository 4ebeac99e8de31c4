"""Reads `robot.yaml`; reports every problem of the file at once, each with its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from policy_runner.core.errors import Problem, Refusal, did_you_mean, refuse
from policy_runner.core.files.bounded import MIB, MOST_SPEC, next_to, read_bounded
from policy_runner.core.files.safe_yaml import load_yaml
from policy_runner.core.model import Array
from policy_runner.core.spec.named_numbers import matching_names
from policy_runner.sim.robot_file.robot_keys import SCHEMA, RobotSpec

MOST_DESCRIPTION = 16 * MIB
MODEL_SUFFIXES = (".xml", ".mjcf", ".urdf")


@dataclass(frozen=True)
class RobotFile:
    """A robot and the path of its file: `robot.yaml`, or the MJCF or URDF itself."""

    spec: RobotSpec
    path: Path

    @property
    def model_path(self) -> Path:
        """The resolved path of the MJCF or URDF.

        Raises:
            Refusal: it is outside the folder of `robot.yaml`.
        """
        if self.path.suffix.lower() in MODEL_SUFFIXES:
            return self.path
        return next_to(self.path, self.spec.model.file, "model.file")


def read_robot(path: Path | str, meshes: bool = True) -> RobotFile:
    """Read and validate a robot.

    Args:
        path: `robot.yaml`, its folder, or an MJCF or URDF (suffix .xml, .mjcf or .urdf), which
            gets the defaults of every key.
        meshes: False: as `model.meshes: false`.

    Raises:
        Refusal: the file has problems. It lists all of them.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        path = path / "robot.yaml"
    if not path.is_file():
        raise refuse(str(path), "", "a robot.yaml, an MJCF or a URDF", "no such file")
    if path.suffix.lower() in MODEL_SUFFIXES:
        content: Any = {"schema": SCHEMA, "name": path.stem, "model": {"file": path.name}}
    else:
        content = load_yaml(path, yaml.SafeLoader, MOST_SPEC, "YAML")
    if not isinstance(content, dict):
        got = "an empty file" if content is None else type(content).__name__
        raise refuse(str(path), "", "a mapping of keys", got)
    try:
        spec = RobotSpec.model_validate(content)
    except ValidationError as error:
        raise Refusal([_problem(str(path), one) for one in error.errors()]) from error
    if not meshes:
        model = spec.model.model_copy(update={"meshes": False})
        spec = spec.model_copy(update={"model": model})
    if spec.start.height is not None and spec.start.position is not None:
        raise refuse(str(path), "start", "`height` or `position`", "both")
    return RobotFile(spec, path)


def read_description(robot: RobotFile) -> str:
    """The URDF that shows the robot; '' if there is none.

    Raises:
        Refusal: the file that `description` names is absent, outside the folder, or no text.
    """
    given = robot.spec.description
    if given is None and robot.model_path.suffix.lower() != ".urdf":
        return ""
    path = robot.model_path if given is None else next_to(robot.path, given, "description")
    content = read_bounded(path, MOST_DESCRIPTION, "a URDF")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refuse(str(path), "", "a URDF in UTF-8", str(error)) from error


def _problem(file: str, error: Any) -> Problem:
    """One pydantic error as a sentence. The tag of a sensor is not part of the key."""
    location = list(error["loc"])
    if location[:1] == ["sensors"] and len(location) > 2:
        del location[2]
    if location[:1] == ["twist"] and len(location) > 1:
        del location[1]
    key = ""
    for part in location:
        if isinstance(part, int):
            key += f"[{part}]"
        elif part != "[key]" and not str(part).endswith("]"):
            key += f".{part}" if key else str(part)
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        hint = did_you_mean(str(error["loc"][-1]), _every_key())
        return Problem(file, key, "a known key", f"'{error['loc'][-1]}'", hint)
    if kind == "missing":
        return Problem(file, key, "this key", "nothing")
    if kind == "union_tag_invalid":
        tags = str(context["expected_tags"]).replace("'", "")
        hint = did_you_mean(str(context["tag"]), tags.split(", "))
        return Problem(file, key, f"one of {tags}", f"'{context['tag']}'", hint)
    if kind == "union_tag_not_found":
        return Problem(file, key, f"the key {context['discriminator']}", "nothing")
    expected = str(error["msg"]).removeprefix("Input should be ")
    return Problem(file, key, expected, repr(error["input"])[:80])


def _every_key() -> list[str]:
    found: list[str] = []

    def visit(node: object) -> None:
        if isinstance(node, Mapping):
            found.extend(node.get("properties", ()))
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for value in node:
                visit(value)

    visit(RobotSpec.model_json_schema(by_alias=True))
    return found


def some_by_name(
    value: float | Mapping[str, float] | None, names: Sequence[str], file: str, key: str
) -> Array:
    """Numbers by name, float64 [n]; NaN for every name that the mapping leaves out.

    Args:
        value: one number for all, or a mapping by name or by pattern that matches whole names.
        names: the names.
        file: the file with the numbers, for errors.
        key: their key in the file, for errors.

    Raises:
        Refusal: a key matches no name, or two patterns match one name.
    """
    found = np.full(len(names), np.nan)
    if value is None:
        return found
    if not isinstance(value, Mapping):
        found.fill(float(value))
        return found
    by: dict[str, str] = {}
    # Exact names come last and replace what a pattern set.
    for pattern in sorted(value, key=lambda one: one in names):
        for name in [pattern] if pattern in names else matching_names(pattern, names, file, key):
            if name in by and pattern not in names:
                got = f"'{by[name]}' and '{pattern}'"
                raise refuse(file, key, f"one pattern for '{name}'", got)
            by[name] = pattern
            found[names.index(name)] = value[pattern]
    return found
