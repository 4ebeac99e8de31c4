"""Counters of inferences: step counters, the first step, the rows of a motion.

Reading never moves a clock. The policy calls `advance` once per inference and `reset` before the
first one.
"""

from __future__ import annotations

import math
from typing import Protocol


class Clock(Protocol):
    """State that the policy advances once per inference, and resets with its other state."""

    def advance(self) -> None:
        """Count one inference."""

    def reset(self) -> None:
        """Return to the state before the first inference."""


class Counter:
    """Counts inferences since reset, k: `value` is `start` + max(0, k - `delay`), up to `last`.

    Above `last` the value stays at `last`, or with `loop` continues with `start`.
    """

    def __init__(
        self, start: float = 0.0, delay: int = 0, last: float | None = None, loop: bool = False
    ) -> None:
        self._start, self._delay, self._last, self._loop = start, delay, last, loop
        self.steps = 0

    @property
    def value(self) -> float:
        """The current value."""
        passed = max(0, self.steps - self._delay)
        value = self._start + passed
        if self._last is None or value <= self._last:
            return value
        if not self._loop:
            return self._last
        return self._start + passed % (math.floor(self._last - self._start) + 1)

    @property
    def ended(self) -> bool:
        """Whether the count is beyond `last`."""
        passed = max(0, self.steps - self._delay)
        return self._last is not None and self._start + passed > self._last

    def advance(self) -> None:
        """Count one inference."""
        self.steps += 1

    def reset(self) -> None:
        """Return to the state before the first inference."""
        self.steps = 0
