"""Memory that is allocated once, for the newest records of one thread.

The memory is divided into segments. A full segment stays as it is until all others were used
after it. So another thread can read them without a lock.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

SEGMENTS = 6
_HEAD = struct.Struct("<BI")
HEAD_BYTES = _HEAD.size
_INTO = _HEAD.pack_into


class Memory:
    """Records of a kind (0 to 255) and bytes, in the order in which one thread added them.

    Attributes:
        at, end: where the next record begins, and the end of its segment [bytes]. Equal: no room.
    """

    def __init__(self, size: int) -> None:
        """Allocate `size` bytes; every page is written once, so that no later write waits."""
        self._array = np.empty(size, dtype=np.uint8)
        self._array.fill(0)
        self._view = memoryview(self._array.data)
        self._length = size // SEGMENTS
        self._ends = [0] * SEGMENTS  # end of the records in each segment
        self._numbers = [0] * SEGMENTS  # in the order of use; 0: never used
        self._now = 0
        self._number = 0
        self.at = self.end = 0
        self._kept: frozenset[int] = frozenset()
        self._objects: list[list[Any]] = [[] for _ in range(SEGMENTS)]

    @property
    def segment_bytes(self) -> int:
        """Size of a segment [bytes]; a record must be smaller."""
        return self._length

    def clear(self) -> None:
        """Forget all records. Only for the thread that adds."""
        self._numbers = [0] * SEGMENTS
        self._objects = [[] for _ in range(SEGMENTS)]
        self.at = self.end = 0

    def begin(self) -> bool:
        """Continue in the oldest segment. False: a reader needs it now, so it stays as it is."""
        following = (self._now + 1) % SEGMENTS
        if self._numbers[following] and self._numbers[following] in self._kept:
            self.at = self.end = 0
            return False
        self._number += 1
        # The number changes first: a reader of the old records sees that they are gone.
        self._numbers[following] = self._number
        self._ends[following] = following * self._length
        self._objects[following] = []
        self._now = following
        self.at = following * self._length
        self.end = self.at + self._length
        return True

    def has_room(self, size: int) -> bool:
        """Whether a record with `size` bytes fits into the present segment."""
        return self.at + HEAD_BYTES + size <= self.end

    def keep(self, given: Any) -> int:
        """Keep an object as long as the present segment; return its number in the segment."""
        objects = self._objects[self._now]
        objects.append(given)
        return len(objects) - 1

    def put(self, record: bytes) -> None:
        """Add a record that begins with its head, for which there is room until `end`."""
        begin = self.at
        end = begin + len(record)
        self._view[begin:end] = record
        self.at = self._ends[self._now] = end

    def add(self, kind: int, data: bytes) -> None:
        """Add a record, for which `has_room` was true."""
        begin = self.at
        at = begin + HEAD_BYTES
        end = at + len(data)
        _INTO(self._view, begin, kind, len(data))
        self._view[at:end] = data
        self.at = self._ends[self._now] = end

    def read(self) -> Iterator[tuple[int, bytes, Sequence[Any]]]:
        """Return the records, oldest first, with the objects of their segment.

        It is for one other thread.

        Meanwhile the segments that exist now stay as they are. The adding thread may have to
        pause.
        """
        self._kept = frozenset(number for number in self._numbers if number)
        try:
            for number in sorted(self._kept):
                if number not in self._numbers:
                    continue  # used again just before it was kept
                index = self._numbers.index(number)
                at, end = index * self._length, self._ends[index]
                objects = self._objects[index]
                while at < end and self._numbers[index] == number:
                    kind, size = _HEAD.unpack_from(self._view, at)
                    at += HEAD_BYTES
                    yield kind, bytes(self._view[at : at + size]), objects
                    at += size
        finally:
            self._kept = frozenset()
