"""YAML of trainers, which now and then holds Python tags: read, never executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from policy_runner.core.errors import refuse
from policy_runner.core.files.bounded import MOST_FOREIGN
from policy_runner.core.files.safe_yaml import load_yaml


class _Loader(yaml.SafeLoader):
    """Safe loading, and two tags that Isaac Lab's dumps contain as the plain data they mean."""


def _slice(loader: yaml.SafeLoader, node: yaml.Node) -> dict[str, Any]:
    # `joint_ids: !!python/object/apply:builtins.slice [null, null, null]`: "all of them".
    assert isinstance(node, yaml.SequenceNode)
    return {"slice": loader.construct_sequence(node, deep=True)}


def _tuple(loader: yaml.SafeLoader, node: yaml.Node) -> list[Any]:
    assert isinstance(node, yaml.SequenceNode)
    return list(loader.construct_sequence(node, deep=True))


_Loader.add_constructor("tag:yaml.org,2002:python/object/apply:builtins.slice", _slice)
_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)


def read_yaml(path: Path) -> Mapping[str, Any]:
    """The file as plain data; a slice becomes {"slice": [start, stop, step]}.

    Raises:
        Refusal: no file, no mapping, or a tag other than the two above.
    """
    content = load_yaml(path, _Loader, MOST_FOREIGN, "YAML without program code")
    if not isinstance(content, Mapping):
        raise refuse(str(path), "", "a mapping of keys", type(content).__name__)
    return content
