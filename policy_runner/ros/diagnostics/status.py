"""Builds one status of `/diagnostics`, in the same way for every node of this package.

Keys carry the unit (`tj [C]`), values are bare numbers, a missing value is `n/a`:
`rqt_robot_monitor` and plots need the same keys in every message.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

LEVEL_OK = 0
LEVEL_WARN = 1
LEVEL_ERROR = 2
LEVEL_STALE = 3
LEVEL_NAMES = ("OK", "WARN", "ERROR", "STALE")

_SIGNIFICANT_DIGITS = 5


def level_name(level: int | bytes) -> str:
    """Return `OK`, `WARN`, `ERROR` or `STALE`, from an int or from the byte of a message.

    rclpy gives the `level` of a message as bytes of length 1. An undefined level is named by its
    number.
    """
    number = level_number(level)
    return LEVEL_NAMES[number] if 0 <= number < len(LEVEL_NAMES) else f"LEVEL {number}"


def level_number(level: int | bytes) -> int:
    """Return the level as an int, from an int or from the byte of a message."""
    return level[0] if isinstance(level, (bytes, bytearray)) else int(level)


def format_value(value: object) -> str:
    """Format one value: five significant digits, never an exponent; None and NaN are `n/a`."""
    if value is None:
        return "n/a"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return _format_float(float(value))
    return str(value)


def _format_float(value: float) -> str:
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    decimals = min(max(_SIGNIFICANT_DIGITS - 1 - magnitude, 1), 9)
    text = f"{value:.{decimals}f}".rstrip("0")
    text = f"{text}0" if text.endswith(".") else text
    return "0.0" if text == "-0.0" else text


def make_status(
    name: str,
    level: int,
    message: str,
    values: Mapping[str, object],
    hardware_id: str = "",
) -> DiagnosticStatus:
    """Build one `diagnostic_msgs/DiagnosticStatus`.

    Args:
        name: of the status.
        level: one of `LEVEL_OK|WARN|ERROR|STALE`; converted to the byte that rclpy needs.
        message: one sentence for the operator.
        values: keep their order and are formatted by `format_value`.
        hardware_id: of the robot or computer; may be empty.

    Raises:
        ValueError: a level outside 0..3, which some viewers would show as OK.
    """
    if level not in (LEVEL_OK, LEVEL_WARN, LEVEL_ERROR, LEVEL_STALE):
        raise ValueError(f"status {name!r}: expected level 0..3, got {level!r}")
    return DiagnosticStatus(
        level=bytes([level]),
        name=name,
        message=message,
        hardware_id=hardware_id,
        values=[KeyValue(key=str(k), value=format_value(v)) for k, v in values.items()],
    )
