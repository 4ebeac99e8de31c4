"""What a reading means: level, sentence, values; and the memory that keeps levels from flapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# The numbers of diagnostic_msgs/DiagnosticStatus.
OK, WARN, ERROR, STALE = 0, 1, 2, 3


@dataclass(frozen=True)
class Verdict:
    """Level, one sentence for a person, and values by key (unit in the key)."""

    level: int
    message: str
    values: Mapping[str, object]


class Hysteresis:
    """Level of a value that is worse the higher it is.

    Up at once at the threshold, down only `clear` below it: a value that swings around a
    threshold changes the level once.
    """

    def __init__(self) -> None:
        self.level = OK

    def update(self, value: float, warn: float, error: float, clear: float) -> int:
        """Level after `value`; pass infinity for a threshold that does not exist."""
        for level, threshold in ((ERROR, error), (WARN, warn)):
            if value >= threshold - (clear if self.level >= level else 0.0):
                self.level = level
                return level
        self.level = OK
        return OK
