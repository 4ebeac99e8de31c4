"""YAML as data: no program, no bomb.

Aliases (`*name`) let a few lines stand for billions of values, or for themselves; whoever walks
through them later would never end. So the parsed nodes are counted as if every alias were
written out, before anything is made of them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from policy_runner.core.errors import refuse
from policy_runner.core.files.bounded import read_bounded

MOST_VALUES = 200_000
MOST_DEPTH = 64
LONGEST_NUMBER = 400  # characters; Python's whole numbers have no end, their arithmetic neither
_UNSPEAKABLE = re.compile("[\0\ud800-\udfff]")  # they end a message's text, or cannot be sent
_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"


def load_yaml(path: Path, loader: type[yaml.SafeLoader], most: int, what: str) -> Any:
    """The file's content, made by `loader`, which must be a safe one.

    Raises:
        Refusal: no such file, a file larger than `most` bytes, or one that is no plain YAML.
    """
    content = read_bounded(path, most, what)
    try:
        reading = loader(content.decode("utf-8"))
        try:
            node = reading.get_single_node()
            if node is None:
                return None
            _count(node, {}, 0)
            return reading.construct_document(node)
        finally:
            reading.dispose()
    except Exception as error:
        # Beside its own errors PyYAML lets through those of int, float and date, and its slips.
        text = " ".join(str(error).split()) or type(error).__name__
        raise refuse(str(path), "", what, text[:400]) from error


def _count(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """How many values a node stands for; 0 in `known` while it is being counted."""
    if id(node) in known:
        if not known[id(node)]:
            raise yaml.YAMLError(f"an alias of what it stands in{_at(node)}")
        return known[id(node)]
    if depth > MOST_DEPTH:
        raise yaml.YAMLError(f"more than {MOST_DEPTH} values inside each other{_at(node)}")
    known[id(node)] = 0
    total = 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            total += _count(key, known, depth + 1) + _count(value, known, depth + 1)
        _no_key_twice(node)
    elif isinstance(node, yaml.SequenceNode):
        total += sum(_count(one, known, depth + 1) for one in node.value)
    elif _UNSPEAKABLE.search(node.value):
        raise yaml.YAMLError(f"text with a character that is none{_at(node)}")
    elif node.tag != _TEXT and len(node.value) > LONGEST_NUMBER:
        raise yaml.YAMLError(f"a number of {len(node.value)} characters{_at(node)}")
    if total > MOST_VALUES:
        raise yaml.YAMLError(f"more than {MOST_VALUES} values, aliases written out{_at(node)}")
    known[id(node)] = total
    return total


def _no_key_twice(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.YAMLError(f"a key that is no plain value{_at(key)}")
        if key.tag == _MERGE:  # `<<`, which merges another mapping into this one, is no key
            continue
        if (key.tag, key.value) in seen:
            raise yaml.YAMLError(f"key '{key.value}' twice (line {key.start_mark.line + 1})")
        seen.add((key.tag, key.value))


def _at(node: yaml.Node) -> str:
    return f" (line {node.start_mark.line + 1})"
