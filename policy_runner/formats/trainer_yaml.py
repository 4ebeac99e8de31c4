"""Reads YAML files of trainers. Some contain Python tags; these are never executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from policy_runner.core.errors import refuse
from policy_runner.core.files.bounded import MOST_FOREIGN
from policy_runner.core.files.safe_yaml import load_yaml


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
