"""What counts inferences: phase clocks, step counters, the first step, the rows of a motion.

Reading never moves a clock; `advance` is called once per inference, `reset` before a first one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol


class Clock(Protocol):
    """State that the pipeline moves once per inference, and resets with everything else."""

    def advance(self) -> None:
        """One inference was made."""

    def reset(self) -> None:
        """The next inference is the first."""


class Counter:
    """Inferences since reset: `count` is `start` + k, later by `delay`, up to `last`."""

    def __init__(
        self, start: float = 0.0, delay: int = 0, last: float | None = None, loop: bool = False
    ) -> None:
        self._start, self._delay, self._last, self._loop = start, delay, last, loop
        self.steps = 0

    @property
    def value(self) -> float:
        """The present count."""
        passed = max(0, self.steps - self._delay)
        value = self._start + passed
        if self._last is None or value <= self._last:
            return value
        if not self._loop:
            return self._last
        return self._start + passed % (math.floor(self._last - self._start) + 1)

    @property
    def ended(self) -> bool:
        """Beyond `last`."""
        passed = max(0, self.steps - self._delay)
        return self._last is not None and self._start + passed > self._last

    def advance(self) -> None:
        """One inference was made."""
        self.steps += 1

    def reset(self) -> None:
        """The next inference is the first."""
        self.steps = 0


class PhaseClock:
    """Phase in cycles: start + k * step + offset, k advances made while it was not held."""

    def __init__(
        self,
        step: float,
        start: float,
        offsets: Sequence[float],
        held: Callable[[], bool],
        held_at: Sequence[float] | None,
    ) -> None:
        """`step` in cycles per inference; `held_at` what the clocks show while `held`."""
        self._step, self._start = step, start
        self._offsets = list(offsets)
        self._held, self._held_at = held, held_at
        self._advances = 0

    def phases(self) -> list[float]:
        """Of every clock, cycles in [0, 1)."""
        if self._held_at is not None and self._held():
            return [at % 1.0 for at in self._held_at]
        # Multiplied, not summed up: after a day of ticks the phase is still the right one.
        now = self._start + self._advances * self._step
        return [(now + offset) % 1.0 for offset in self._offsets]

    def advance(self) -> None:
        """One inference was made."""
        if not self._held():
            self._advances += 1

    def reset(self) -> None:
        """The next inference is the first."""
        self._advances = 0
