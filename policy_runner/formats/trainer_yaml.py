"""Reads YAML files of trainers, and their numbers. Python tags in them are never executed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from policy_runner.core.errors import refuse
from policy_runner.core.files.bounded import MOST_FOREIGN
from policy_runner.core.files.safe_yaml import load_yaml


class WrongValue(ValueError):
    """A value of a foreign file that is not of the kind that its format has."""

    def __init__(self, key: str, expected: str, got: str) -> None:
        """Keep the parts of the sentence; see `core.errors.Problem`."""
        super().__init__(f"{key}: expected {expected}, got {got}")
        self.key, self.expected, self.got = key, expected, got


def whole_numbers(given: object, key: str) -> list[int]:
    """Return a list of whole numbers.

    Args:
        given: the value in the file.
        key: its key, for the error.

    Raises:
        WrongValue: no list, or an element that is no whole number, such as 2.5, '2' or true.
    """
    found = []
    for k, one in enumerate(_listed(given, key, "whole numbers")):
        if isinstance(one, bool) or not isinstance(one, int):
            raise WrongValue(f"{key}[{k}]", "a whole number", _shown(one))
        found.append(one)
    return found


def numbers(given: object, key: str) -> list[float]:
    """Return a list of finite numbers.

    Args:
        given: the value in the file.
        key: its key, for the error.

    Raises:
        WrongValue: no list, or an element that is no finite number.
    """
    listed = _listed(given, key, "numbers")
    return [number(one, f"{key}[{k}]") for k, one in enumerate(listed)]


def number(given: Any, key: str) -> float:
    """Return one finite number; a text such as 1e-3, which YAML reads as text, is one.

    Raises:
        WrongValue: anything else.
    """
    try:
        value = float(given) if not isinstance(given, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise WrongValue(key, "a finite number", _shown(given))
    return value


def frames(given: object, key: str) -> int:
    """Return the frames of a history: 1 for none, null and 0.

    Raises:
        WrongValue: a negative number, or no whole number.
    """
    if given is None:
        return 1
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise WrongValue(key, "a number of frames, 0 or more", _shown(given))
    return max(1, given)


def _listed(given: object, key: str, what: str) -> Sequence[object]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
        raise WrongValue(key, f"a list of {what}", _shown(given))
    return given


def _shown(given: object) -> str:
    if given is None or isinstance(given, bool):
        return "null" if given is None else str(given).lower()
    return repr(given)[:80]


class _Loader(yaml.SafeLoader):
    """Safe loader that also reads two tags of Isaac Lab's dumps, as plain data."""


def _slice(loader: yaml.SafeLoader, node: yaml.Node) -> dict[str, Any]:
    # `joint_ids: !!python/object/apply:builtins.slice [null, null, null]` means all joints.
    assert isinstance(node, yaml.SequenceNode)
    return {"slice": loader.construct_sequence(node, deep=True)}


def _tuple(loader: yaml.SafeLoader, node: yaml.Node) -> list[Any]:
    assert isinstance(node, yaml.SequenceNode)
    return list(loader.construct_sequence(node, deep=True))


_Loader.add_constructor("tag:yaml.org,2002:python/object/apply:builtins.slice", _slice)
_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Read a file as plain data; a slice becomes {"slice": [start, stop, step]}.

    Raises:
        Refusal: no file, not a mapping, or a tag other than the two of `_Loader`.
    """
    content = load_yaml(path, _Loader, MOST_FOREIGN, "YAML without program code")
    if not isinstance(content, Mapping):
        raise refuse(str(path), "", "a mapping of keys", type(content).__name__)
    return content
