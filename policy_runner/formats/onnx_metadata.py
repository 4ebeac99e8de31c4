"""Values in an ONNX model's metadata: all text, in two styles; read, never evaluated.

JSON where the text begins like JSON, else CSV, with `;` inside an element that is itself a
list: "-inf;inf,-100.000;100.000". Numbers of the CSV style were written with 3 decimals.
"""

from __future__ import annotations

import json
import re
from typing import Any

_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


def parse_json(text: str) -> Any:
    """The JSON value, or the text itself where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # ValueError: a whole number without end, too
        return text


def words(text: str) -> list[str]:
    """The elements of a list, as text; [] for an empty one."""
    if text.lstrip().startswith("["):
        value = parse_json(text)
        if isinstance(value, list):
            return [str(one) for one in value]
    return [one.strip() for one in text.split(",")] if text.strip() else []


def numbers(text: str) -> list[float]:
    """The elements of a list of numbers; one number is a list of one.

    Raises:
        ValueError: something else is among them.
    """
    return [float(one) for one in words(text)]


def nested(text: str) -> list[Any]:
    """One number or one list of numbers per element, as mjlab writes them.

    `1.000,0.500;0.250` gives [1.0, [0.5, 0.25]]; the older `[-inf, inf],[-1, 1]` and JSON's
    `[[-1, 1], [0, 2]]` give a list per element.

    Raises:
        ValueError: something else is among them.
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
