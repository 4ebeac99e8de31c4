"""Encodes messages as plain CDR in either byte order, independently of the package's reader."""

from __future__ import annotations

import random
import re
import struct
from functools import lru_cache
from typing import Any

LITTLE, BIG = "<", ">"
PACKAGES = (
    *("action_msgs", "builtin_interfaces", "diagnostic_msgs", "geometry_msgs", "lifecycle_msgs"),
    *("nav_msgs", "rcl_interfaces", "rosgraph_msgs", "sensor_msgs", "std_msgs", "trajectory_msgs"),
    *("unique_identifier_msgs",),
)
CODES = {
    "boolean": "?", "octet": "B", "uint8": "B", "int8": "b", "int16": "h", "uint16": "H",
    "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q", "float": "f", "double": "d",
}  # fmt: skip


def encode(message: Any, order: str = LITTLE) -> bytes:
    """Return the bytes of a message; strings are written as UTF-8."""
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


@lru_cache(maxsize=1)
def message_classes() -> dict[str, Any]:
    """Return every message class of the packages that we use, by its name."""
    from importlib import import_module

    found = {}
    for package in PACKAGES:
        try:
            module = import_module(f"{package}.msg")
        except ImportError:
            continue
        for name, kind in vars(module).items():
            if isinstance(kind, type) and hasattr(kind, "get_fields_and_field_types"):
                found[f"{package}/msg/{name}"] = kind
    return found


def random_message(rng: random.Random, kind: Any, depth: int = 0) -> Any:
    """Return a message with random content that its type allows."""
    message = kind()
    for name, field in kind.get_fields_and_field_types().items():
        setattr(message, name, _random_value(rng, field, depth))
    return message


def _random_value(rng: random.Random, kind: str, depth: int) -> Any:
    if kind in CODES:
        return _random_number(rng, kind)
    if kind.startswith("string") and "[" not in kind:
        return rng.choice(("", "a", "hip_joint", "é", "x" * rng.randrange(40)))[: _bound(kind)]
    if kind.startswith("sequence<"):
        match = re.fullmatch(r"sequence<(.+?)(?:, (\d+))?>", kind)
        assert match
        most = min(int(match[2] or 9), 9 if depth < 2 else 1)
        return [_random_value(rng, match[1], depth + 1) for _ in range(rng.randrange(most + 1))]
    if kind.endswith("]"):
        element, _, count = kind.removesuffix("]").rpartition("[")
        return [_random_value(rng, element, depth + 1) for _ in range(int(count))]
    return random_message(rng, message_classes()[kind.replace("/", "/msg/")], depth + 1)


def _bound(kind: str) -> int | None:
    match = re.fullmatch(r"string<(\d+)>", kind)
    return int(match[1]) // 2 if match else None


def _random_number(rng: random.Random, kind: str) -> Any:
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "octet":
        return bytes([rng.randrange(256)])
    if kind in ("float", "double"):
        return rng.choice((0.0, -1.5, 1e30, float("inf"), rng.random()))
    bits = int(kind.lstrip("uint"))
    return rng.randrange(1 << bits) - (0 if kind.startswith("u") else 1 << (bits - 1))
