"""YAML of trainers, which now and then holds Python tags: read, never executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from policy_runner.core.problems import refuse


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
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AssertionError, ValueError) as error:
        text = " ".join(str(error).split())
        raise refuse(str(path), "", "YAML without program code", text) from error
    if not isinstance(content, Mapping):
        raise refuse(str(path), "", "a mapping of keys", type(content).__name__)
    return content
