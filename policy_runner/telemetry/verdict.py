"""Verdict on a reading: level, sentence, values; and a hysteresis that keeps levels stable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# The numbers of diagnostic_msgs/DiagnosticStatus.
OK, WARN, ERROR, STALE = 0, 1, 2, 3


@dataclass(frozen=True)
class Verdict:
    """Level, one sentence for the operator, and values by key (with the unit in the key)."""

    level: int
    message: str
    values: Mapping[str, object]


class Hysteresis:
    """Level of a value for which higher is worse.

    The level rises at once at a threshold, and falls only at `clear` below it. So a value that
    swings around a threshold changes the level only once.
    """

    def __init__(self) -> None:
        self.level = OK

    def update(self, value: float, warn: float, error: float, clear: float) -> int:
        """Return the level after a new value.

        Args:
            value: the new value.
            warn: threshold of WARN; infinity for none.
            error: threshold of ERROR; infinity for none.
            clear: a level ends at this much below its threshold.
        """
        for level, threshold in ((ERROR, error), (WARN, warn)):
            if value >= threshold - (clear if self.level >= level else 0.0):
                self.level = level
                return level
        self.level = OK
        return OK
