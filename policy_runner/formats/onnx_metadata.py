"""Parses values in an ONNX model's metadata. They are text in two styles, and never evaluated.

A text that begins like JSON is JSON. Else it is CSV; an element that is a list has `;` inside:
"-inf;inf,-100.000;100.000". Numbers of the CSV style were written with 3 decimals.
"""

from __future__ import annotations

import json
import re
from typing import Any

_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


def parse_json(text: str) -> Any:
    """Return the JSON value, or the text itself if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # ValueError: also an integer of too many digits
        return text


def words(text: str) -> list[str]:
    """Return the elements of a list as text; [] for an empty text."""
    if text.lstrip().startswith("["):
        value = parse_json(text)
        if isinstance(value, list):
            return [str(one) for one in value]
    return [one.strip() for one in text.split(",")] if text.strip() else []


def numbers(text: str) -> list[float]:
    """Return the elements of a list of numbers; a single number is a list of one.

    Raises:
        ValueError: an element is not a number.
    """
    return [float(one) for one in words(text)]


def nested(text: str) -> list[Any]:
    """Parse a list whose elements are numbers or lists of numbers, as mjlab writes them.

    `1.000,0.500;0.250` gives [1.0, [0.5, 0.25]]. The older `[-inf, inf],[-1, 1]` and JSON's
    `[[-1, 1], [0, 2]]` give a list per element.

    Raises:
        ValueError: an element is not a number.
    """
    if "[" in text:
        found = _BRACKETS.findall(text)
        if not re.fullmatch(r"[\s,\[\]]*", _BRACKETS.sub("", text)):
            raise ValueError(f"not a list of lists: {text[:60]}")
        if text.count("[") == 1:  # one flat JSON list
            return [float(one) for one in found[0].split(",") if one.strip()]
        return [[float(end) for end in one.split(",") if end.strip()] for one in found]
    elements: list[Any] = []
    for one in words(text):
        parts = [float(part) for part in one.split(";")]
        elements.append(parts[0] if len(parts) == 1 else parts)
    return elements
