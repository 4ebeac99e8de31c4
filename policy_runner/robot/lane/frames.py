"""The memory of a lane's request: its observation, and the past frames of the histories."""

from __future__ import annotations

import struct

from policy_runner.core.lane.interface import LaneRequest
from policy_runner.core.lane.snapshot import Memory, Snapshot, SnapshotLayout, place_all

# sequence, observed, latency [ns], fresh, number of frames
_HEAD = struct.Struct("<qqqqq")
_HEAD_BYTES = 64


class RequestMemory:
    """A request in a memory that a worker shares."""

    def __init__(self, layout: SnapshotLayout, depth: int, memory: Memory) -> None:
        """Bind to a memory of `bytes_of(layout, depth)` bytes."""
        self._memory = memory
        self.frames = place_all(layout, memory, _HEAD_BYTES, depth)

    @staticmethod
    def bytes_of(layout: SnapshotLayout, depth: int) -> int:
        """The size of a request [bytes]."""
        return _HEAD_BYTES + depth * layout.size

    def write_head(self, request: LaneRequest, frames: int) -> None:
        """Write the request; its observation is the last one of the first `frames` frames."""
        _HEAD.pack_into(
            self._memory, 0, request.sequence, request.observed_ns, request.latency_ns,
            int(request.fresh), frames,
        )  # fmt: skip

    def read(self) -> tuple[LaneRequest, list[Snapshot]]:
        """Return the request and its frames."""
        sequence, observed_ns, latency_ns, fresh, count = _HEAD.unpack_from(self._memory)
        return (
            LaneRequest(sequence, observed_ns, latency_ns, bool(fresh)),
            list(self.frames[:count]),
        )


class FrameKeeper:
    """Keeps past frames in the control thread, and writes whole requests."""

    def __init__(self, layout: SnapshotLayout, depth: int) -> None:
        """Allocate nothing for a policy without histories."""
        self._layout = layout
        self._depth = depth
        memory = bytearray(layout.size * (depth - 1)) if depth > 1 else bytearray()
        self._past = place_all(layout, memory, 0, depth - 1)
        self._kept = 0  # number of past frames
        self._at = 0  # place of the next one

    def sample(self) -> None:
        """Keep the inputs of now as a past frame."""
        if not self._past:
            return
        self._layout.take(self._past[self._at])
        self._at = (self._at + 1) % len(self._past)
        self._kept = min(self._kept + 1, len(self._past))

    def write(self, request: LaneRequest, into: RequestMemory) -> None:
        """Write the past frames, oldest first, and the inputs of now."""
        for k in range(self._kept):
            into.frames[k].copy_from(self._past[(self._at - self._kept + k) % len(self._past)])
        self._layout.take(into.frames[self._kept])
        into.write_head(request, self._kept + 1)
        if self._past:  # this observation is a past frame of the next one
            self._past[self._at].copy_from(into.frames[self._kept])
            self._at = (self._at + 1) % len(self._past)
            self._kept = min(self._kept + 1, len(self._past))

    def forget(self) -> None:
        """Drop the past frames."""
        self._kept = 0
