"""Writes the fields of a message as CDR, little endian, without ROS.

The layout is that of OMG's CDR 1.2: each number is aligned to its size, counted from the end of
the four bytes at the start.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

_START = b"\0\1\0\0"  # CDR, little endian


class CdrBytes:
    """Appends fields to a message."""

    def __init__(self) -> None:
        self._out = bytearray()

    def number(self, form: str, value: int) -> None:
        """Append an integer of four bytes; `form` is that of `struct`."""
        self._align(4)
        self._out += struct.pack(f"<{form}", value)

    def text(self, value: str) -> None:
        """Append a string."""
        data = value.encode() + b"\0"
        self.number("I", len(data))
        self._out += data

    def byte(self, value: int) -> None:
        """Append a uint8."""
        self._out.append(value)

    def blob(self, data: bytes) -> None:
        """Append a sequence of uint8."""
        self.number("I", len(data))
        self._out += data

    def header(self, stamp_ns: int, frame_id: str) -> None:
        """Append a std_msgs/Header."""
        self.number("i", stamp_ns // 1_000_000_000)
        self.number("I", stamp_ns % 1_000_000_000)
        self.text(frame_id)

    def floats(self, values: Collection[float]) -> None:
        """Append float64 numbers of a fixed count."""
        if len(values):
            self._align(8)
            self._out += struct.pack(f"<{len(values)}d", *values)

    def sequence(self, values: Collection[float]) -> None:
        """Append a sequence of float64 numbers."""
        self.number("I", len(values))
        self.floats(values)

    def finish(self) -> bytes:
        """The whole message."""
        return _START + bytes(self._out)

    def _align(self, size: int) -> None:
        self._out += bytes(-len(self._out) % size)
