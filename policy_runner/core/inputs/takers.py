"""What is kept of a message when it is no fixed set of numbers: sequences and images.

Whoever takes messages calls every taker of a slot with the value at its path (the path "" is
the message itself). A taker only keeps what came; the term that reads it does the work, so
that a camera faster than the policy costs nothing.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Taker(Protocol):
    """Keeps the newest value at its path."""

    def __call__(self, value: Any) -> str:
        """Keep it; '' or why it is unusable."""

    def forget(self) -> None:
        """As if nothing had ever come."""

    def zero(self) -> None:
        """All numbers 0, for an input whose absence means that."""


class SequenceTaker:
    """The newest sequence of numbers, whatever its length; None before the first."""

    def __init__(self) -> None:
        self.values: Array | None = None

    def __call__(self, value: Any) -> str:
        """Keep these numbers."""
        values = np.asarray(value, dtype=np.float64).reshape(-1)
        if values.size == 0:
            return "an empty sequence"
        self.values = values
        return ""

    def forget(self) -> None:
        """As if nothing had ever come."""
        self.values = None

    def zero(self) -> None:
        """Zeros, as many as there were."""
        if self.values is not None:
            self.values = np.zeros_like(self.values)


class MessageTaker:
    """The newest message as it is; None before the first."""

    def __init__(self) -> None:
        self.message: Any = None
        self.count = 0  # of messages, so that a reader sees whether there is a newer one

    def __call__(self, value: Any) -> str:
        """Keep this message."""
        self.message = value
        self.count += 1
        return ""

    def forget(self) -> None:
        """As if nothing had ever come."""
        self.message = None
        self.count += 1

    def zero(self) -> None:
        """A picture has no numbers that mean nothing: the newest one stays."""
