"""One chunk as a function of time."""

from __future__ import annotations

import numpy as np

from policy_runner.core.model import Array


def knot_rates(rows: Array) -> Array:
    """Rates at the actions for a cubic curve without overshoot, [T, A] per step.

    The harmonic mean of the two neighbouring slopes, 0 at a local extremum, as Fritsch and Butland
    (1984) chose for monotone curves. The curve stays between its two actions, and its rate stays
    within 1.5 times the steepest neighbouring slope.

    Args:
        rows: actions, float64 [T, A].
    """
    slopes = np.diff(rows, axis=0)
    rates = np.empty_like(rows)
    before, after = slopes[:-1], slopes[1:]
    product = before * after
    total = before + after
    same = product > 0.0
    rates[1:-1] = np.where(same, 2.0 * product / np.where(same, total, 1.0), 0.0)
    rates[0], rates[-1] = slopes[0], slopes[-1]
    return rates


def between(
    first: Array, second: Array, share: Array | float, rates: tuple[Array, Array] | None
) -> Array:
    """Interpolate between many pairs of actions; returns a new array [n, A].

    Args:
        first: actions, float64 [n, A].
        second: the actions one step later, float64 [n, A].
        share: of the step, from 0 to 1; float64 [n, 1], or one for all.
        rates: of a cubic curve at both, per step, float64 [n, A]; None: linear.
    """
    if rates is None:
        return first + (second - first) * share
    square = share * share
    change = (second - first) * (square * (3.0 - 2.0 * share))
    before = rates[0] * (share * (1.0 - share) ** 2)
    return first + change + before + rates[1] * (square * (share - 1.0))


class Curve:
    """The actions of one chunk over time. It keeps copies in arrays that stay.

    Attributes:
        observed_ns: time of the observation [ns].
        start_ns: time of action 0 [ns]; the observation's, unless the chunk was restarted.
        count: number of actions; 0: no chunk.
        rows: the actions, float64 [steps, A]; the first `count` are valid.
        rates: of a cubic curve at the actions, per step, like `rows`; None: linear.
    """

    def __init__(self, steps: int, size: int, dt_ns: int, cubic: bool) -> None:
        """Allocate.

        Args:
            steps: the most actions of a chunk.
            size: elements of an action, A.
            dt_ns: time between two actions [ns].
            cubic: interpolate by a cubic curve instead of linearly.
        """
        self.observed_ns = self.start_ns = 0
        self.count = 0
        self.rows = np.zeros((steps, size))
        self.rates = np.zeros((steps, size)) if cubic else None
        self._dt_ns = dt_ns
        self._work = np.zeros(size)

    def set(self, actions: Array, observed_ns: int) -> None:
        """Copy a chunk.

        Args:
            actions: float64 [T, A], 2 <= T <= steps.
            observed_ns: time of its observation [ns].
        """
        self.count = len(actions)
        self.rows[: self.count] = actions
        self.observed_ns = self.start_ns = observed_ns
        self.refresh()

    def refresh(self) -> None:
        """Compute what depends on `rows`, after a change in place."""
        if self.rates is not None:
            self.rates[: self.count] = knot_rates(self.rows[: self.count])

    def clear(self) -> None:
        """Drop the chunk."""
        self.count = 0

    @property
    def last_ns(self) -> int:
        """Time of the last action [ns]."""
        return self.start_ns + (self.count - 1) * self._dt_ns

    @property
    def end_ns(self) -> int:
        """End of the chunk [ns]: the last action is valid for one dt."""
        return self.start_ns + self.count * self._dt_ns

    def index(self, now_ns: int) -> float:
        """The index that belongs to a time, from 0 to the last one."""
        at = (now_ns - self.start_ns) / self._dt_ns
        return min(max(at, 0.0), self.count - 1.0)

    def read(self, now_ns: int, out: Array) -> None:
        """Write the action of a time into `out` [A]. Beyond the ends it is the first or last."""
        at = self.index(now_ns)
        k = int(at)
        share = at - k
        if share == 0.0:
            np.copyto(out, self.rows[k])
            return
        first, second = self.rows[k], self.rows[k + 1]
        if self.rates is None:
            np.subtract(second, first, out=out)
            np.multiply(out, share, out=out)
            np.add(out, first, out=out)
            return
        # Cubic Hermite: the change, then the two rates.
        square = share * share
        np.subtract(second, first, out=out)
        np.multiply(out, square * (3.0 - 2.0 * share), out=out)
        np.add(out, first, out=out)
        np.multiply(self.rates[k], share * (1.0 - share) ** 2, out=self._work)
        np.add(out, self._work, out=out)
        np.multiply(self.rates[k + 1], square * (share - 1.0), out=self._work)
        np.add(out, self._work, out=out)
