"""Reads a serialized diagnostic_msgs/DiagnosticArray (CDR), without ROS.

So a recording can also be read on a laptop. The first bytes say whether it is little or big endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEADER = 4


@dataclass(frozen=True)
class Status:
    """One status of the message."""

    level: int
    name: str
    message: str
    hardware_id: str
    values: dict[str, str]


def read_diagnostics(data: bytes) -> tuple[int, list[Status]]:
    """Return (header stamp [ns], statuses) of a serialized message.

    Raises:
        ValueError: the bytes are not such a message.
    """
    reader = _Reader(data)
    try:
        stamp_ns = reader.number("i") * 1_000_000_000 + reader.number("I")
        reader.text()  # frame_id
        statuses = []
        for _ in range(reader.count()):
            level = reader.byte()
            name, message, hardware = reader.text(), reader.text(), reader.text()
            values = {}
            for _ in range(reader.count()):
                key = reader.text()
                values[key] = reader.text()
            statuses.append(Status(level, name, message, hardware, values))
    except (struct.error, IndexError) as error:
        raise ValueError(f"no DiagnosticArray: {error}") from None
    return stamp_ns, statuses


class _Reader:
    """Reads fields one by one. Numbers are aligned to 4 bytes, and the header has 4 bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = _HEADER
        self._order = "<" if data[1:2] == b"\x01" else ">"

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def number(self, kind: str) -> int:
        self._at += -self._at % 4
        (value,) = struct.unpack_from(f"{self._order}{kind}", self._data, self._at)
        self._at += 4
        return int(value)

    def count(self) -> int:
        return self.number("I")

    def text(self) -> str:
        length = self.count()
        end = self._at + length
        if end > len(self._data):
            raise IndexError(f"a text of {length} in {len(self._data)} bytes")
        text = self._data[self._at : end - 1].decode("utf-8", "replace")  # without the NUL
        self._at = end
        return text
