"""Read YAML safely: it must not run code or exhaust the memory.

With aliases (`*name`) a few lines can stand for billions of values, or contain themselves. Code
that walks through such content would never end. Therefore `load_yaml` first counts the parsed nodes
as if every alias were written out, and constructs values only after that.
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
# Characters. Python's integers have no size limit, so arithmetic on a long one takes very long.
LONGEST_NUMBER = 400
# A NUL ends the text of a message, and surrogates cannot be sent.
_UNSPEAKABLE = re.compile("[\0\ud800-\udfff]")
_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"


def load_yaml(path: Path, loader: type[yaml.SafeLoader], most: int, what: str) -> Any:
    """Read the file's content with `loader`.

    Args:
        path: the file.
        loader: a safe loader.
        most: largest size [bytes].
        what: the kind of file, for error messages.

    Raises:
        Refusal: the file is missing, is larger than `most` bytes, or is not plain YAML.
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
        # In addition to its own errors, PyYAML passes on errors of int, float and date, and raises
        # others by mistake.
        text = " ".join(str(error).split()) or type(error).__name__
        raise refuse(str(path), "", what, text[:400]) from error


def _count(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """Count the values that a node stands for. In `known` it is 0 while it is being counted."""
    if id(node) in known:
        if not known[id(node)]:
            raise yaml.YAMLError(f"an alias that contains itself{_at(node)}")
        return known[id(node)]
    if depth > MOST_DEPTH:
        raise yaml.YAMLError(f"more than {MOST_DEPTH} nested values{_at(node)}")
    known[id(node)] = 0
    total = 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            total += _count(key, known, depth + 1) + _count(value, known, depth + 1)
        _no_key_twice(node)
    elif isinstance(node, yaml.SequenceNode):
        total += sum(_count(one, known, depth + 1) for one in node.value)
    elif _UNSPEAKABLE.search(node.value):
        raise yaml.YAMLError(f"text with an invalid character{_at(node)}")
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
            raise yaml.YAMLError(f"a key that is not a plain value{_at(key)}")
        if key.tag == _MERGE:  # `<<` is not a key: it merges another mapping into this one
            continue
        if (key.tag, key.value) in seen:
            raise yaml.YAMLError(f"key '{key.value}' twice (line {key.start_mark.line + 1})")
        seen.add((key.tag, key.value))


def _at(node: yaml.Node) -> str:
    return f" (line {node.start_mark.line + 1})"
