"""Lead the command from where it is onto a new curve, without a jump of value or rate."""

from __future__ import annotations

import numpy as np

from policy_runner.core.model import Array

# The steepest slope of 1 - 3 s^2 + 2 s^3, at s = 1/2.
_STEEPEST = 1.5
# A cubic from (1, -3) to (0, 0) over 1 is monotone; a steeper start overshoots.
_STEEPEST_START = 3.0


class Fade:
    """The difference between the command and the new curve, which decays to zero.

    With the gap g and the difference of rates v at the seam, it is at the time t after the seam

        p(t) = G h(t / D) + c D k(t / D) - (f T / 3) (1 - t / T)^3,   G = g + f T / 3,
        h(s) = 1 - 3 s^2 + 2 s^3,   k(s) = s (1 - s)^2,   v = c + f.

    So p(0) = g and p'(0) = v: value and rate of the command are continuous. c is the part of v
    that closes the gap already, so a seam during a fade does not slow the fade. The other part, f,
    fades over T. The gap closes over D, which is at least T, and so long that no element closes
    faster than its catch-up rate.

    Attributes:
        gap: the largest gap of the newest seam, over all elements.
        duration_ns: D of the newest seam [ns].
        active: whether the difference is not zero yet.
    """

    def __init__(self, size: int, catch_up_rate: float | Array) -> None:
        """Allocate for `size` elements. `catch_up_rate` is in unit/s, one number or [size]."""
        self.gap = 0.0
        self.duration_ns = 0
        self.active = False
        rate = np.asarray(catch_up_rate, dtype=np.float64)
        self._catch_up = np.broadcast_to(rate, (size,)).copy()
        self._far, self._closing, self._fast = (np.zeros(size) for _ in range(3))
        self._work = np.zeros(size)
        self._start_ns = 0
        self._fast_ns = 1.0

    def begin(self, start_ns: int, gap: Array, rate: Array, shortest_ns: float) -> None:
        """Start at a seam.

        Args:
            start_ns: time of the seam [ns].
            gap: command minus new curve, float64 [A].
            rate: rate of the command minus rate of the new curve, per second, float64 [A].
            shortest_ns: T [ns], above 0.
        """
        self._start_ns, self._fast_ns = start_ns, shortest_ns
        self.gap = float(np.abs(gap).max())
        third_s = shortest_ns * 1e-9 / 3.0
        side = np.sign(gap)
        closing = np.clip(-side * rate, 0.0, self._catch_up)
        far = np.abs(gap + (rate + side * closing) * third_s)
        needed_s = float((far / self._catch_up).max()) * _STEEPEST
        self.duration_ns = int(max(shortest_ns, needed_s * 1e9))
        duration_s = self.duration_ns * 1e-9
        closing = np.minimum(closing, _STEEPEST_START * far / duration_s)
        np.multiply(closing, -side, out=self._closing)
        np.subtract(rate, self._closing, out=self._fast)
        self._fast *= third_s
        np.add(gap, self._fast, out=self._far)
        self._closing *= duration_s
        self.active = True

    def add(self, now_ns: int, out: Array) -> None:
        """Add the difference of this time to the curve's action `out` [A]."""
        passed = now_ns - self._start_ns
        if passed >= self.duration_ns:
            self.active = False
            return
        s = passed / self.duration_ns
        np.multiply(self._far, 1.0 - s * s * (3.0 - 2.0 * s), out=self._work)
        np.add(out, self._work, out=out)
        np.multiply(self._closing, s * (1.0 - s) ** 2, out=self._work)
        np.add(out, self._work, out=out)
        rest = 1.0 - passed / self._fast_ns
        if rest > 0.0:
            np.multiply(self._fast, rest * rest * rest, out=self._work)
            np.subtract(out, self._work, out=out)

    def add_rate(self, now_ns: int, out: Array) -> None:
        """Add the rate of the difference at this time, per second, to `out` [A]."""
        passed = now_ns - self._start_ns
        if not self.active or passed >= self.duration_ns:
            return
        s = passed / self.duration_ns
        duration_s = self.duration_ns * 1e-9
        out -= self._far * (6.0 * s * (1.0 - s) / duration_s)
        out += self._closing * ((1.0 - s) * (1.0 - 3.0 * s) / duration_s)
        rest = 1.0 - passed / self._fast_ns
        if rest > 0.0:
            out += self._fast * (3.0 * rest * rest / (self._fast_ns * 1e-9))
