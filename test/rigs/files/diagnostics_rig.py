"""A serialized DiagnosticArray, for tests of recordings without ROS."""

from __future__ import annotations

import struct
from collections.abc import Mapping


def cdr(level: int, name: str, message: str, values: Mapping[str, str], order: str = "<") -> bytes:
    """Return a serialized DiagnosticArray (CDR) with one status."""
    data = bytearray()

    def number(value: int) -> None:
        data.extend(b"\0" * (-len(data) % 4))
        data.extend(struct.pack(f"{order}I", value))

    def string(value: str) -> None:
        raw = value.encode() + b"\0"
        number(len(raw))
        data.extend(raw)

    number(7)
    number(500)
    string("")
    number(1)
    data.append(level)
    for word in (name, message, "board 1"):
        string(word)
    number(len(values))
    for key, value in values.items():
        string(key)
        string(value)
    return (b"\0\1\0\0" if order == "<" else b"\0\0\0\0") + bytes(data)
