"""How long work is told: the step, and how much of it is done where it is counted."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told each step that takes longer than a second."""

    def __call__(self, text: str, done: int = 0, total: int = 0, /) -> None:
        """Tell one step.

        Args:
            text: of the step, such as "compare at 3 standard deviations".
            done: parts of the step that are done.
            total: all parts of the step; 0: not counted.
        """


def no_progress(_text: str, _done: int = 0, _total: int = 0) -> None:
    """Tell nothing."""
