"""Windows of durations with a fixed size: adding is cheap, another thread computes the figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Percentiles:
    """Figures of a window [ns]; all 0 if the window is empty."""

    count: int
    p50: float
    p95: float
    p99: float
    p999: float
    max: float


class Window:
    """The newest `capacity` durations [ns] of one kind.

    One thread adds and another thread reads. A read may miss the sample that is being written,
    but no other.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._samples = np.zeros(capacity, dtype=np.int64)
        self._capacity = capacity
        self.count = 0

    def add(self, duration_ns: int) -> None:
        """Add one duration; if the window is full, it replaces the oldest."""
        self._samples[self.count % self._capacity] = duration_ns
        self.count += 1

    def clear(self) -> None:
        """Forget all samples."""
        self.count = 0

    def samples(self) -> np.ndarray:
        """A copy of the kept durations, int64 [n], in no particular order."""
        return self._samples[: min(self.count, self._capacity)].copy()

    def percentiles(self) -> Percentiles:
        """p50, p95, p99, p99.9 and the largest of the absolute values."""
        kept = np.abs(self.samples())
        if kept.size == 0:
            return Percentiles(0, 0.0, 0.0, 0.0, 0.0, 0.0)
        # `sort` releases the interpreter lock, numpy's `percentile` does not: it delayed the
        # control thread by 0.3 ms and more per window.
        kept.sort()
        places = np.array((0.5, 0.95, 0.99, 0.999)) * (kept.size - 1)
        below = places.astype(np.intp)
        above = np.minimum(below + 1, kept.size - 1)
        between = kept[below] + (places - below) * (kept[above] - kept[below])
        p50, p95, p99, p999 = between.tolist()
        return Percentiles(kept.size, p50, p95, p99, p999, float(kept[-1]))
