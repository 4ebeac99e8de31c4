"""One parameter: a row that declares, checks and documents it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

KINDS = ("bool", "int", "float", "str", "int[]", "float[]", "str[]")


@dataclass(frozen=True)
class Parameter:
    """One row. If `default` is None, only the user sets a value; then `kind` is "float".

    Such a row has the value NaN (`.nan` in YAML) on the node while it is not set. A parameter
    without a value would hide all others: rclpy answers a read of several parameters that
    includes it with an empty list, so `ros2 param dump` prints nothing.
    """

    name: str
    default: Any
    description: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False  # may change while the node is active
    kind: str = ""
    at_start: bool = False  # read once, when the process starts

    def __post_init__(self) -> None:
        if not self.kind:
            kind = {bool: "bool", int: "int", float: "float", str: "str"}[type(self.default)]
            object.__setattr__(self, "kind", kind)
        if self.default is None and self.kind != "float":
            raise ValueError(f"parameter {self.name}: only a float can be not set")

    @property
    def may_be_unset(self) -> bool:
        """Whether NaN is valid, and means "not set"."""
        return self.default is None

    def given(self, value: Any) -> Any:
        """Return a valid value as the program uses it: None for a row that is not set."""
        unset = self.may_be_unset and isinstance(value, float) and math.isnan(value)
        return None if unset else value

    @property
    def text(self) -> str:
        """Description with the unit, one sentence; rqt and `ros2 param describe` show it."""
        return f"{self.description} [{self.unit}]" if self.unit else self.description


def expected(row: Parameter) -> str:
    """Describe the valid values of this row."""
    words = {"bool": "true or false", "int": "an integer", "float": "a float", "str": "a string"}
    base = row.kind.removesuffix("[]")
    text = words[base] if base == row.kind else f"a list ({words[base]} each)"
    if row.choices:
        return f"one of {', '.join(row.choices)}"
    if row.low is not None or row.high is not None:
        low = "" if row.low is None else f"{row.low:g}"
        high = "" if row.high is None else f"{row.high:g}"
        text += f" in {low}..{high}"
    return f"{text} ({row.unit})" if row.unit else text


def _element_problem(row: Parameter, value: Any) -> str:
    base = row.kind.removesuffix("[]")
    types: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}
    if type(value) is not types[base]:
        if base == "float" and type(value) is int:
            return _element_problem(row, float(value)) or f"the integer {value} (write {value}.0)"
        return f"{value!r}"
    if row.choices and value not in row.choices:
        return f"{value!r}"
    if isinstance(value, (int, float)) and base in ("int", "float"):
        if row.may_be_unset and math.isnan(value):
            return ""
        if not math.isfinite(value):
            return f"{value}"
        if (row.low is not None and value < row.low) or (row.high is not None and value > row.high):
            return f"{value:g}" if base == "float" else f"{value}"
    return ""


def problem(row: Parameter, value: Any) -> str:
    """Return the sentence that refuses `value` for this row, or '' if the value is valid."""
    if row.kind.endswith("[]"):
        if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
            got = f"{value!r}"
        else:
            # An empty YAML list has no type; it is a valid value of every array row.
            got = next((g for g in (_element_problem(row, v) for v in list(value)) if g), "")
    else:
        got = _element_problem(row, value)
    return f"parameter {row.name}: expected {expected(row)}, got {got}" if got else ""
