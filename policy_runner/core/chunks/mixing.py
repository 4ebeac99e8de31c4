"""Several chunks mixed into one action: ACT's temporal ensemble, LeRobot's aggregations."""

from __future__ import annotations

import numpy as np

from policy_runner.core.chunks.curve import Curve, between
from policy_runner.core.model import Array


def aggregate(old: Curve, new: Curve, share_of_old: float, dt_ns: int) -> None:
    """Mix the older chunk into the newer one, in place, where both have an action.

    As LeRobot's asynchronous client: only times of the newer chunk stay, and where the older one
    has no action, the newer one counts alone. Its time steps are counted; ours are times, so the
    older chunk is read by interpolation.

    Args:
        old: the chunk so far, itself possibly mixed.
        new: the new chunk; changed.
        share_of_old: from 0 to 1.
        dt_ns: time between two actions [ns].
    """
    if not old.count or share_of_old == 0.0:
        return
    # All times of the newer chunk lie at the same share between two actions of the older one.
    ahead, rest_ns = divmod(new.start_ns - old.start_ns, dt_ns)
    first = max(0, -ahead)
    last = min(new.count, old.count - ahead - (rest_ns > 0))
    if first >= last:
        return
    k = slice(ahead + first, ahead + last)
    mixed = old.rows[k]
    if rest_ns:
        next_k = slice(ahead + first + 1, ahead + last + 1)
        rates = (old.rates[k], old.rates[next_k]) if old.rates is not None else None
        mixed = between(old.rows[k], old.rows[next_k], rest_ns / dt_ns, rates)
    rows = new.rows[first:last]
    rows *= 1.0 - share_of_old
    rows += mixed * share_of_old
    new.refresh()


class Ensemble:
    """ACT's temporal ensemble: a weighted mean of all predictions for the present time.

    Weights are exp(-m i), normalized; i = 0 is the oldest prediction (arXiv 2304.13705, Alg. 2).
    With one inference per action and one action per tick it is exactly ACT's. If inference is
    slower, weights follow the order of the predictions, not their age: then `is_slow` is true.

    Attributes:
        is_slow: whether the newest two chunks are more than one dt apart.
    """

    def __init__(self, steps: int, size: int, coefficient: float, dt_ns: int, cubic: bool) -> None:
        """Allocate for as many chunks as one chunk has steps.

        Args:
            steps: the most actions of a chunk.
            size: elements of an action, A.
            coefficient: m.
            dt_ns: time between two actions [ns].
            cubic: see `Curve`.
        """
        self.is_slow = False
        self._dt_ns = dt_ns
        self._rows = np.zeros((steps, steps, size))
        self._rates = np.zeros((steps, steps, size)) if cubic else None
        # All chunks are computed at once: one by one, a hundred took 170 to 450 us a tick.
        self._starts = np.zeros(steps, dtype=np.int64)
        self._last = np.zeros(steps, dtype=np.int64)  # index of the last action
        self._observed_ns = 0  # of the newest chunk
        self._count = 0  # valid chunks, oldest first, from `_first` on, around the arrays
        self._first = 0
        self._around = np.tile(np.arange(steps), 2)
        self._weights = np.exp(-coefficient * np.arange(steps))

    def push(self, chunk: Curve) -> None:
        """Keep a copy of a chunk, in place of the oldest one if all places are taken."""
        places = len(self._starts)
        if self._count:
            self.is_slow = chunk.observed_ns - self._observed_ns > 1.5 * self._dt_ns
        if self._count == places:
            self._drop_oldest()
        at = (self._first + self._count) % places
        self._rows[at, : chunk.count] = chunk.rows[: chunk.count]
        if self._rates is not None and chunk.rates is not None:
            self._rates[at, : chunk.count] = chunk.rates[: chunk.count]
        self._starts[at], self._last[at] = chunk.start_ns, chunk.count - 1
        self._observed_ns = chunk.observed_ns
        self._count += 1

    def restart(self, now_ns: int) -> None:
        """Let the newest chunk begin now."""
        self._starts[(self._first + self._count - 1) % len(self._starts)] = now_ns

    def clear(self) -> None:
        """Drop all chunks."""
        self._count = 0
        self.is_slow = False

    def _drop_oldest(self) -> None:
        self._first = (self._first + 1) % len(self._starts)
        self._count -= 1

    def read(self, now_ns: int, out: Array) -> None:
        """Write the mean of all chunks that have an action for `now_ns` into `out` [A]."""
        dt_ns, starts, last = self._dt_ns, self._starts, self._last
        while self._count > 1 and starts[self._first] + last[self._first] * dt_ns < now_ns:
            self._drop_oldest()
        chunks = self._around[self._first : self._first + self._count]
        at = np.clip((now_ns - starts[chunks]) / dt_ns, 0, last[chunks])
        k = at.astype(np.int64)
        following = np.minimum(k + 1, last[chunks])
        rates = None
        if self._rates is not None:
            rates = self._rates[chunks, k], self._rates[chunks, following]
        share = (at - k)[:, np.newaxis]
        values = between(self._rows[chunks, k], self._rows[chunks, following], share, rates)
        weights = self._weights[: self._count]
        np.dot(weights / weights.sum(), values, out=out)
