"""The newest text of an input, such as the instruction of a policy: as numbers, from the bytes.

A text is latched: it is valid until the next one, however old it is. So it survives a reset, a new
activation and a jump of the clock.
"""

from __future__ import annotations

import struct

import numpy as np

from policy_runner.core.inputs.cdr import ENCAPSULATION, Unreadable, byte_order
from policy_runner.core.model import Array, Buffer

STRING = "std_msgs/msg/String"
MOST_SHOWN = 120  # characters of a text in a report
_COUNT = {"<": struct.Struct("<I"), ">": struct.Struct(">I")}


class TextValues:
    """A text as its bytes in UTF-8 and zeros after them, float64, NaN while there is no text.

    An empty text is no text: the policy has no instruction.
    """

    def __init__(self) -> None:
        self._arrays: dict[int, Array] = {}
        self._first = b""

    def array(self, size: int) -> Array:
        """The text as float64 [size], created on the first request."""
        if size not in self._arrays:
            self._arrays[size] = np.full(size, np.nan)
        return self._arrays[size]

    @property
    def arrays(self) -> dict[str, Array]:
        """Every array of the text, by a name."""
        return {f"text[{size}]": array for size, array in self._arrays.items()}

    @property
    def most(self) -> int:
        """The longest text that every term can read [bytes]."""
        return min(self._arrays)

    @property
    def is_given(self) -> bool:
        """Whether there is a text."""
        return all(array[0] == array[0] for array in self._arrays.values())  # NaN differs

    @property
    def data(self) -> bytes:
        """The text in UTF-8; empty without a text."""
        array = self._arrays[self.most]
        return text_of(array) if self.is_given else b""

    @property
    def shown(self) -> str:
        """The text for a report: shortened, without control characters."""
        text = self.data.decode(errors="replace")
        text = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
        return "".join(c if c.isprintable() else " " for c in text)

    def fault_of(self, value: str | bytes) -> str:
        """Return '' or why a text is unusable."""
        try:
            data = value.encode() if isinstance(value, str) else value
            data.decode()
        except UnicodeError:
            return "a text that is not UTF-8"
        if b"\0" in data:
            return "a text with a NUL character"
        if len(data) > self.most:
            return f"a text of {len(data)} bytes in UTF-8, at most {self.most} are read"
        return ""

    def __call__(self, value: str | bytes) -> str:
        """Keep this text; return '' or why it is unusable. Then the old one stays."""
        if fault := self.fault_of(value):
            return fault
        data = value.encode() if isinstance(value, str) else value
        for array in self._arrays.values():
            array[: len(data)] = np.frombuffer(data, np.uint8)
            array[len(data) :] = 0.0 if data else np.nan
        return ""

    def begin_with(self, value: str) -> str:
        """Keep this text, also as the one that `restart` returns to; see `__call__`."""
        fault = self(value)
        if not fault:
            self._first = value.encode()
        return fault

    def restart(self) -> None:
        """Return to the text of `begin_with`; without one, to no text."""
        self(self._first)


def text_of(numbers: Array | Buffer) -> bytes:
    """The bytes of a text from its numbers [size], of any type: those before the first zero."""
    return numbers.astype(np.uint8).tobytes().split(b"\0", 1)[0]


def string_data(raw: bytes) -> bytes:
    """The text of a serialized std_msgs/String.

    Raises:
        Unreadable: the length does not fit the message.
    """
    order = byte_order(raw)
    at = ENCAPSULATION + 4
    if len(raw) < at:
        raise Unreadable(f"{len(raw)} bytes, too few for a text")
    (count,) = _COUNT[order].unpack_from(raw, ENCAPSULATION)
    data = raw[at : at + count]
    # The count includes the final NUL; some senders leave out an empty text's NUL.
    if count > len(raw) - at or (count and data[-1]):
        raise Unreadable(f"a text of {count} bytes in a message of {len(raw)}")
    return data[:-1]


def string_message(text: str) -> bytes:
    """A serialized std_msgs/String, as a middleware sends it."""
    data = text.encode() + b"\0"
    return b"\0\1\0\0" + _COUNT["<"].pack(len(data)) + data
