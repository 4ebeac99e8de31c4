"""Messages of openpi: msgpack with numpy arrays, exactly as its own client and server write them.

An array is a map with *binary* keys: `{b"__ndarray__": true, b"data", b"dtype", b"shape"}`, a numpy
scalar is `{b"__npgeneric__": true, b"data", b"dtype"}`. A map with text keys of these names stays a
map. Format read in openpi's `packages/openpi-client/src/openpi_client/msgpack_numpy.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack  # type: ignore[import-untyped, unused-ignore]
import numpy as np

from policy_runner.backends.remote.protocols.bounds import (
    MalformedMessage,
    WireLimits,
    array_from,
    checked_dtype,
    checked_shape,
)

_ARRAY, _SCALAR = b"__ndarray__", b"__npgeneric__"
_DATA, _DTYPE, _SHAPE = b"data", b"dtype", b"shape"
_DEFAULT = WireLimits()
# First byte of a value -> (kind, bytes of its size or content). Kinds of the tables below.
_FIXED, _TEXT, _LIST, _MAP, _BAD = range(5)


def _first_bytes() -> list[tuple[int, int, int]]:
    """By first byte: the kind, the number of bytes of the size, and the fixed size."""
    table = [(_FIXED, 0, 0)] * 256
    table[0x80:0x90] = [(_MAP, 0, k) for k in range(16)]
    table[0x90:0xA0] = [(_LIST, 0, k) for k in range(16)]
    table[0xA0:0xC0] = [(_TEXT, 0, k) for k in range(32)]
    table[0xC1] = (_BAD, 0, 0)
    table[0xC4:0xC7] = [(_TEXT, 1, 0), (_TEXT, 2, 0), (_TEXT, 4, 0)]  # binary
    table[0xC7:0xCA] = [(_BAD, 0, 0)] * 3  # extension types
    table[0xCA:0xD4] = [(_FIXED, 0, size) for size in (4, 8, 1, 2, 4, 8, 1, 2, 4, 8)]
    table[0xD4:0xD9] = [(_BAD, 0, 0)] * 5  # extension types
    table[0xD9:0xDC] = [(_TEXT, 1, 0), (_TEXT, 2, 0), (_TEXT, 4, 0)]
    table[0xDC:0xE0] = [(_LIST, 2, 0), (_LIST, 4, 0), (_MAP, 2, 0), (_MAP, 4, 0)]
    return table


_TABLE = _first_bytes()


def check_structure(data: bytes, limits: WireLimits = _DEFAULT) -> None:
    """Walk over one msgpack value and check its bounds; nothing is created.

    Raises:
        MalformedMessage: it is too large, too deep, has too many values, ends too early or too
            late, or has extension types.
    """
    limits.check_size(len(data))
    end, at, values = len(data), 0, 0
    open_ = [1]  # values that are still missing, per level
    while open_:
        if open_[-1] == 0:
            open_.pop()
            continue
        open_[-1] -= 1
        if at >= end:
            raise MalformedMessage("a msgpack message that ends too early")
        kind, width, size = _TABLE[data[at]]
        at += 1
        if width:
            size = int.from_bytes(data[at : at + width], "big")
            at += width
        values += 1
        if kind <= _TEXT:
            at += size
        elif kind == _BAD:
            raise MalformedMessage("a msgpack message with an extension type or a reserved byte")
        else:
            inside = 2 * size if kind == _MAP else size
            if values + inside > limits.most_values:
                raise MalformedMessage(f"a message of more than {limits.most_values} values")
            if len(open_) > limits.most_depth:
                raise MalformedMessage(f"a message of more than {limits.most_depth} levels")
            open_.append(inside)
        if at > end:
            raise MalformedMessage("a msgpack message that ends too early")
    if at != end:
        raise MalformedMessage(f"{end - at} bytes behind the msgpack message")


def decode(data: bytes, limits: WireLimits = _DEFAULT) -> Any:
    """Return the value of one message; arrays are read-only views on it.

    Raises:
        MalformedMessage: see `check_structure`; or an array or a text is damaged.
    """
    check_structure(data, limits)

    def made(given: dict[Any, Any]) -> Any:
        if _ARRAY in given:
            shape = checked_shape(given.get(_SHAPE), limits)
            return array_from(given.get(_DATA), checked_dtype(given.get(_DTYPE)), shape)
        if _SCALAR in given:
            dtype, value = checked_dtype(given.get(_DTYPE)), given.get(_DATA)
            if not isinstance(value, (bool, int, float)):
                raise MalformedMessage("a numpy scalar whose data are not a number")
            with np.errstate(over="ignore"):  # too large for its type: infinite
                return dtype.type(value)
        return given

    try:
        return msgpack.unpackb(data, object_hook=made, raw=False, strict_map_key=False)
    except MalformedMessage:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, UnicodeDecodeError) as error:
        text = f"a msgpack message that cannot be decoded ({type(error).__name__})"
        raise MalformedMessage(text) from error


def decode_map(data: bytes, limits: WireLimits = _DEFAULT) -> dict[str, Any]:
    """Return the map of one message; its keys are texts.

    Raises:
        MalformedMessage: see `decode`; or it is not a map with texts as keys.
    """
    found = decode(data, limits)
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise MalformedMessage("a message that is not a map with texts as keys")
    return found


def _plain(given: Any) -> Any:
    if isinstance(given, np.ndarray):
        if given.dtype.kind not in "biuf":
            raise TypeError(f"an array of {given.dtype} cannot be sent")
        return {
            _ARRAY: True, _DATA: given.tobytes(), _DTYPE: given.dtype.str,
            _SHAPE: given.shape,
        }  # fmt: skip
    if isinstance(given, np.generic):
        return {_SCALAR: True, _DATA: given.item(), _DTYPE: given.dtype.str}
    raise TypeError(f"{type(given).__name__} cannot be sent")


def encode(value: Mapping[str, Any]) -> bytes:
    """Return the bytes of one message, as openpi writes them.

    Args:
        value: texts, numbers, lists, maps, and arrays of real numbers or booleans.

    Raises:
        TypeError: a value has another type.
    """
    return bytes(msgpack.packb(value, default=_plain))
