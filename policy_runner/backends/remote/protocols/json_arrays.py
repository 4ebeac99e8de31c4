"""Arrays inside JSON: nested lists, or base64 as json_numpy writes them.

`{"__numpy__": base64 of C order bytes, "dtype": "<f4", "shape": [2, 3]}`, read in json_numpy 2.1.1.
OpenVLA's clients send images this way.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from typing import Any

import numpy as np

from policy_runner.backends.remote.protocols.bounds import (
    Array,
    MalformedMessage,
    WireLimits,
    array_from,
    checked_dtype,
    checked_shape,
)

_KEY = "__numpy__"
_DEFAULT = WireLimits()


def read_json(data: bytes, limits: WireLimits = _DEFAULT) -> Any:
    """Return the value of a JSON text.

    Raises:
        MalformedMessage: it is too large, too deep, or not JSON.
    """
    limits.check_size(len(data))
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"not JSON ({type(error).__name__})") from error


def encode_array(given: Array) -> dict[str, Any]:
    """Return the map of an array, as json_numpy writes it."""
    plain = np.ascontiguousarray(given)
    text = base64.b64encode(plain.tobytes()).decode("ascii")
    return {_KEY: text, "dtype": plain.dtype.str, "shape": list(given.shape)}


def decode_value(given: Any, limits: WireLimits = _DEFAULT) -> Any:
    """Return an array for numbers, lists of numbers and json_numpy's maps; texts stay texts.

    Raises:
        MalformedMessage: lists are ragged, or hold other things; or a map is damaged.
    """
    if isinstance(given, dict):
        return _decode_map(given, limits)
    if isinstance(given, str) or (
        isinstance(given, list) and given and all(isinstance(one, str) for one in given)
    ):
        return given
    try:
        found = np.asarray(given)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedMessage("lists of different lengths where an array is expected") from error
    if found.dtype.kind not in "biuf" or found.ndim > limits.most_axes:
        raise MalformedMessage("a value that is neither a number, a text nor lists of them")
    return found


def _decode_map(given: dict[str, Any], limits: WireLimits) -> Array:
    text = given.get(_KEY)
    if not isinstance(text, str):
        raise MalformedMessage(f"a map without '{_KEY}' where an array is expected")
    shape, dtype = checked_shape(given.get("shape"), limits), checked_dtype(given.get("dtype"))
    if math.prod(shape) * dtype.itemsize > limits.most_bytes:
        raise MalformedMessage(f"an array of more than {limits.most_bytes} bytes")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedMessage("an array that is not base64") from error
    return array_from(data, dtype, shape)
