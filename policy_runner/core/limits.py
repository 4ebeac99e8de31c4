"""The robot's limits on a command, after decoding: bounds, then rate; bounds win."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CommandLimits:
    """Per element, in the command's unit; +-inf where there is no limit.

    `max_step` is the largest change per tick: rate limit x nominal period, so that after a
    stall a command still moves one period's worth.
    """

    low: Array
    high: Array
    max_step: Array

    bounded: bool = field(init=False)
    stepped: bool = field(init=False)

    def __post_init__(self) -> None:
        bounded = bool(np.any(np.isfinite(self.low)) or np.any(np.isfinite(self.high)))
        object.__setattr__(self, "bounded", bounded)
        object.__setattr__(self, "stepped", bool(np.any(np.isfinite(self.max_step))))

    def apply(
        self, target: Array, previous: Array, out: Array, hits: npt.NDArray[np.int64]
    ) -> None:
        """Write the limited target to out [n]; add 1 to hits [n] wherever a limit changed it."""
        np.copyto(out, target)
        if self.stepped:
            np.maximum(out, previous - self.max_step, out=out)
            np.minimum(out, previous + self.max_step, out=out)
        if self.bounded:
            np.maximum(out, self.low, out=out)
            np.minimum(out, self.high, out=out)
        elif not self.stepped:
            return
        # Bytes, since that is a third of a comparison's time, and hits are rare.
        if out.tobytes() != target.tobytes():
            hits += out != target

    def same_as(self, other: CommandLimits | None) -> bool:
        """Whether every number is the same."""
        return self is other or (
            other is not None
            and np.array_equal(self.low, other.low)
            and np.array_equal(self.high, other.high)
            and np.array_equal(self.max_step, other.max_step)
        )

    @staticmethod
    def none(size: int) -> CommandLimits:
        """No limit at all."""
        return CommandLimits(np.full(size, -np.inf), np.full(size, np.inf), np.full(size, np.inf))
