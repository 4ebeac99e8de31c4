"""The command between decoder and robot: limited while it runs, the right stop when not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from policy_runner.core.action import ActionElement
from policy_runner.core.limits import CommandLimits

Array = npt.NDArray[np.float64]


class Command:
    """The newest command, float64 [elements] in policy joints and units, and its limits' hits."""

    def __init__(self, elements: Sequence[ActionElement]) -> None:
        size = len(elements)
        self.values = np.zeros(size)
        self.limit_hits = np.zeros(size, dtype=np.int64)
        self._previous = np.zeros(size)
        self._holds_position = np.array([e.kind == "position" for e in elements], dtype=bool)
        self._zeroed_on_stop = np.flatnonzero(~self._holds_position)
        self._commanded = False

    def follow(self, target: Array, limits: CommandLimits) -> Array:
        """Towards the target, as far as the limits allow."""
        if self._commanded:
            np.copyto(self._previous, self.values)
        else:
            # Velocity and effort start from standstill. A position starts where the policy
            # says: moving there gently is the start-pose move's task, not the rate limit's.
            np.copyto(self._previous, np.where(self._holds_position, target, 0.0))
        limits.apply(target, self._previous, self.values, self.limit_hits)
        self._commanded = True
        return self.values

    def stop(self) -> Array | None:
        """Position holds the last one, everything else is zero.

        None while a position was never commanded: there is nothing to hold.
        """
        if not self._commanded and self._holds_position.any():
            return None
        self.values[self._zeroed_on_stop] = 0.0
        self._commanded = True
        return self.values

    def forget(self) -> None:
        """As if nothing had ever been commanded."""
        self._commanded = False
        self.values.fill(0.0)
