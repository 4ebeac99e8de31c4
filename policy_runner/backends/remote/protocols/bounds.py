"""Bounds of a message, and arrays from untrusted bytes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
# numpy's `dtype.str` of real numbers and booleans. No objects, records, text or complex numbers.
_DTYPE = re.compile(r"[<>|=]?(?:b1|i[1248]|u[1248]|f[248])")
_LONGEST_NAME = 200


class MalformedMessage(Exception):
    """A message that is not as its protocol says; the text is one sentence without its content."""


@dataclass(frozen=True)
class WireLimits:
    """The largest message that is decoded.

    Attributes:
        most_bytes: of the whole message.
        most_values: numbers, texts, arrays, maps and keys together; an array counts as one.
        most_depth: of maps and lists inside each other.
        most_axes: of an array.
    """

    most_bytes: int = 16 << 20
    most_values: int = 20_000
    most_depth: int = 16
    most_axes: int = 8

    def check_size(self, size: int) -> None:
        """Refuse a message of this many bytes if it is too large.

        Raises:
            MalformedMessage: it is.
        """
        if size > self.most_bytes:
            text = f"a message of {size} bytes, at most {self.most_bytes} are read"
            raise MalformedMessage(f"{text} (--max-message-bytes)")


def checked_shape(shape: Any, limits: WireLimits) -> tuple[int, ...]:
    """Return the shape of an array as a tuple.

    Raises:
        MalformedMessage: it is not a short list of sizes.
    """
    if not isinstance(shape, (list, tuple)) or len(shape) > limits.most_axes:
        raise MalformedMessage(f"a shape that is not a list of at most {limits.most_axes} sizes")
    for size in shape:
        if type(size) is not int or not 0 <= size <= limits.most_bytes:
            raise MalformedMessage("a shape with a size that is not a whole number in bounds")
    return tuple(shape)


def checked_dtype(given: Any) -> np.dtype[Any]:
    """Return the dtype of a name such as `<f4`.

    Raises:
        MalformedMessage: it is not a real number or boolean.
    """
    if isinstance(given, (bytes, bytearray)):
        given = bytes(given).decode("ascii", "replace")
    if not isinstance(given, str) or not _DTYPE.fullmatch(given):
        raise MalformedMessage("an array whose dtype is not a real number or boolean, such as <f4")
    return np.dtype(given)


def array_from(data: Any, dtype: np.dtype[Any], shape: Sequence[int]) -> Array:
    """Return a read-only array on these bytes.

    Raises:
        MalformedMessage: the number of bytes does not fit the shape.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise MalformedMessage("an array whose data are not bytes")
    wanted = math.prod(shape) * dtype.itemsize
    size = data.nbytes if isinstance(data, memoryview) else len(data)
    if size != wanted:
        kind = f"{dtype.str} {list(shape)}"
        raise MalformedMessage(f"an array {kind} with {size} bytes, {wanted} needed")
    found = np.frombuffer(data, dtype=dtype, count=math.prod(shape)).reshape(shape)
    found.flags.writeable = False
    if dtype.kind == "b" and found.size and found.view(np.uint8).max() > 1:
        raise MalformedMessage("an array of booleans with a byte that is neither 0 nor 1")
    return found


def shown(name: object) -> str:
    """A name from a message, short and printable, for an error message."""
    text = str(name)[:_LONGEST_NAME]
    return "".join(c if c.isprintable() else "?" for c in text)
