"""Several chunks mixed into one action: ACT's temporal ensemble, LeRobot's aggregations."""

from __future__ import annotations

import math

import numpy as np

from policy_runner.core.chunks.curve import Curve
from policy_runner.core.model import Array


def aggregate(old: Curve, new: Curve, share_of_old: float, dt_ns: int, work: Array) -> None:
    """Mix the older chunk into the newer one, in place, where both have an action.

    As LeRobot's asynchronous client: only times of the newer chunk stay, and where the older one
    has no action, the newer one counts alone. Its time steps are counted; ours are times, so the
    older chunk is read by interpolation.

    Args:
        old: the chunk so far, itself possibly mixed.
        new: the new chunk; changed.
        share_of_old: from 0 to 1.
        dt_ns: time between two actions [ns].
        work: scratch, float64 [A].
    """
    if not old.count or share_of_old == 0.0:
        return
    for k in range(new.count):
        at = new.start_ns + k * dt_ns
        if not old.start_ns <= at <= old.last_ns:
            continue
        old.read(at, work)
        work *= share_of_old
        new.rows[k] *= 1.0 - share_of_old
        new.rows[k] += work
    new.refresh()


class Ensemble:
    """ACT's temporal ensemble: a weighted mean of all predictions for the present time.

    Weights are exp(-m i), normalized; i = 0 is the oldest prediction (arXiv 2304.13705, Alg. 2).
    With one inference per action and one action per tick it is exactly ACT's. If inference is
    slower, weights follow the order of the predictions, not their age: then `is_slow` is true.

    Attributes:
        is_slow: whether the newest two chunks are more than one dt apart.
    """

    def __init__(self, curves: list[Curve], coefficient: float, dt_ns: int) -> None:
        """Keep chunks in `curves`, as many as one chunk has steps. `coefficient` is m."""
        self.is_slow = False
        self._curves = curves
        self._count = 0  # valid curves, oldest first, from `_first` on, around the list
        self._first = 0
        self._coefficient = coefficient
        self._dt_ns = dt_ns
        self._work = np.zeros(curves[0].rows.shape[1])

    def push(self, actions: Array, observed_ns: int) -> Curve:
        """Keep a chunk, in place of the oldest one if all places are taken."""
        places = len(self._curves)
        if self._count:
            newest = self._curves[(self._first + self._count - 1) % places]
            self.is_slow = observed_ns - newest.observed_ns > 1.5 * self._dt_ns
        if self._count == places:
            self._first = (self._first + 1) % places
            self._count -= 1
        curve = self._curves[(self._first + self._count) % places]
        curve.set(actions, observed_ns)
        self._count += 1
        return curve

    def clear(self) -> None:
        """Drop all chunks."""
        self._count = 0
        self.is_slow = False

    def read(self, now_ns: int, out: Array) -> None:
        """Write the mean of all chunks that have an action for `now_ns` into `out` [A]."""
        places = len(self._curves)
        while self._count > 1 and self._curves[self._first].last_ns < now_ns:
            self._first = (self._first + 1) % places
            self._count -= 1
        if self._count == 1:
            self._curves[self._first].read(now_ns, out)
            return
        out.fill(0.0)
        total = 0.0
        for order in range(self._count):
            curve = self._curves[(self._first + order) % places]
            weight = math.exp(-self._coefficient * order)
            curve.read(now_ns, self._work)
            self._work *= weight
            out += self._work
            total += weight
        out /= total
