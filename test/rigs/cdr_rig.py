"""Messages to plain CDR of either byte order, written independently of the package's reader."""

from __future__ import annotations

import re
import struct
from typing import Any

LITTLE, BIG = "<", ">"
CODES = {
    "boolean": "?", "octet": "B", "uint8": "B", "int8": "b", "int16": "h", "uint16": "H",
    "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q", "float": "f", "double": "d",
}  # fmt: skip


def encode(message: Any, order: str = LITTLE) -> bytes:
    """The bytes of a message; strings are written as UTF-8."""
    out = bytearray()
    _message(out, message, order)
    return (b"\0\1\0\0" if order == LITTLE else b"\0\0\0\0") + bytes(out)


def _message(out: bytearray, message: Any, order: str) -> None:
    fields = message.get_fields_and_field_types()
    for name, kind in fields.items():
        _value(out, getattr(message, name), kind, order)
    if not fields:
        out.append(0)


def _value(out: bytearray, value: Any, kind: str, order: str) -> None:
    if kind in CODES:
        _number(out, value[0] if isinstance(value, bytes) else value, CODES[kind], order)
    elif kind.startswith("string") and "[" not in kind:
        data = value.encode() + b"\0"
        _number(out, len(data), "I", order)
        out += data
    elif kind.startswith("sequence<"):
        match = re.fullmatch(r"sequence<(.+?)(?:, \d+)?>", kind)
        assert match
        _number(out, len(value), "I", order)
        for one in value:
            _value(out, one, match[1], order)
    elif kind.endswith("]"):
        for one in value:
            _value(out, one, kind.rpartition("[")[0], order)
    else:
        _message(out, value, order)


def _number(out: bytearray, value: Any, code: str, order: str) -> None:
    out += bytes(-len(out) % struct.calcsize(code))
    out += struct.pack(order + code, value)
