"""The memory of a lane's result."""

from __future__ import annotations

import struct

import numpy as np

from policy_runner.core.lane.interface import LaneEvent
from policy_runner.core.lane.snapshot import Memory
from policy_runner.core.model import Array

# sequence, duration [ns], rows, elements, whether the fault is the action, bytes of the text
_HEAD = struct.Struct("<qqqqqq")
_HEAD_BYTES = 64
_MOST_TEXT = 1024


class ResultMemory:
    """A result in a memory that the control thread shares."""

    def __init__(self, shape: tuple[int, int], memory: Memory, start: int) -> None:
        """Bind to `bytes_of(shape)` bytes, from the byte `start` on."""
        self._memory, self._start = memory, start
        self._text_at = start + _HEAD_BYTES
        self._rows: Array = np.frombuffer(
            memory, np.float64, shape[0] * shape[1], start + _HEAD_BYTES + _MOST_TEXT
        )

    @staticmethod
    def bytes_of(shape: tuple[int, int]) -> int:
        """The size of a result [bytes]; a multiple of 64."""
        size = _HEAD_BYTES + _MOST_TEXT + 8 * shape[0] * shape[1]
        return -(-size // 64) * 64

    def write(self, event: LaneEvent) -> None:
        """Write a result."""
        text = event.why.encode()[:_MOST_TEXT]
        rows, elements = (0, 0) if event.rows is None else event.rows.shape
        _HEAD.pack_into(
            self._memory, self._start, event.sequence, event.took_ns, rows, elements,
            int(event.of_action), len(text),
        )  # fmt: skip
        self._memory[self._text_at : self._text_at + len(text)] = text
        if event.rows is not None:
            self._rows[: rows * elements] = event.rows.reshape(-1)

    def read(self) -> LaneEvent:
        """Return the result; its numbers are a copy."""
        sequence, took_ns, rows, elements, of_action, length = _HEAD.unpack_from(
            self._memory, self._start
        )
        text = bytes(self._memory[self._text_at : self._text_at + length])
        found = self._rows[: rows * elements].reshape(rows, elements).copy() if rows else None
        why = text.decode(errors="replace")
        return LaneEvent("result", sequence, found, why, bool(of_action), took_ns)
