"""Play chunks by the clock: the action of now, with smooth seams.

A chunk carries the time of its observation. The action of now is the chunk's at
(now - observed) / dt. So no delay has to be estimated: a late chunk begins late, not wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from policy_runner.core.chunks.curve import Curve
from policy_runner.core.chunks.fade import Fade
from policy_runner.core.chunks.mixing import Ensemble, aggregate
from policy_runner.core.chunks.rules import AGGREGATIONS, ChunkRules
from policy_runner.core.model import Array

_NEVER = -(2**62)
# Without a question for so many periods the robot stood: the next action fades from standstill.
_STANDSTILL_PERIODS = 5


class ChunkReport(NamedTuple):
    """The state of the queue, and counts since the start."""

    age_ns: int  # of the newest chunk's observation; 0 without a chunk
    left_ns: int  # time until the newest chunk ends; 0 without one
    at_index: float  # of the newest chunk's action that is played; -1 while not playing
    gap: float  # the largest gap of the newest seam, over all elements, in the commands' units
    fading: bool  # whether a fade is under way
    taken: int  # chunks that were taken
    refused: int  # chunks that were refused
    starved: int  # ticks without a valid action, after the first one
    limited: int  # ticks in which the rate limit changed an action
    slow_ensemble: bool  # temporal_ensemble with an inference slower than one action


class ChunkPlayer:
    """The newest chunks, and the action that belongs to now. One thread uses it."""

    def __init__(
        self, rules: ChunkRules, size: int, period_ns: int, max_rate: Array | None = None
    ) -> None:
        """Allocate everything.

        Args:
            rules: how chunks are played.
            size: elements of an action, A.
            period_ns: the control period [ns].
            max_rate: the most change per second, float64 [A]; None: no limit.
        """
        self._rules = rules
        self._size = size
        self._period_ns = period_ns
        self._max_step = None
        if max_rate is not None:
            self._max_step = np.asarray(max_rate, dtype=np.float64) * (period_ns * 1e-9)
        cubic = rules.interpolation == "cubic"
        self._ensemble = None
        if rules.seam == "temporal_ensemble":
            self._ensemble = Ensemble(
                rules.steps, size, rules.ensemble_coefficient, rules.dt_ns, cubic
            )
        self._share_of_old = AGGREGATIONS.get(rules.seam, 0.0)
        # The newest one is found by its number: a saved state names objects by where they were.
        self._curves = [Curve(rules.steps, size, rules.dt_ns, cubic) for _ in range(2)]
        self._newest = 0
        self._fade = Fade(size, rules.catch_up_rate)
        self._out = np.zeros(size)
        self._last = np.zeros(size)
        self._rate = np.zeros(size)  # of the last command, per second
        self._gap, self._gap_rate, self._work = np.zeros(size), np.zeros(size), np.zeros(size)
        self._has_last = False  # whether `_last` is known
        self._playing = False
        self._seam = False  # a chunk was taken since the last action
        self._last_ns = _NEVER  # of the last action
        self._now_ns = _NEVER  # newest time that a caller named
        self._oldest_ns = _NEVER  # observations up to this time are refused
        self._taken_ns = _NEVER  # when the newest chunk was taken
        self._between_ns = 0  # time between the newest two chunks
        self._taken = self._refused = self._starved = self._limited = 0

    def offer(self, actions: Array, observed_ns: int, now_ns: int) -> str:
        """Take a chunk, or refuse it.

        Args:
            actions: float64 [T, A] in the commands' units. Action 0 belongs to `observed_ns`.
            observed_ns: time of the observation, on the same clock as `now_ns`.
            now_ns: the time now.

        Returns:
            '' if it is taken, else the reason why not.
        """
        why = self._unusable(actions, observed_ns, now_ns)
        if why:
            self._refused += 1
            return why
        self._now_ns = max(self._now_ns, now_ns)
        old, new = self._curve, self._curves[1 - self._newest]
        new.set(actions, observed_ns)
        if self._ensemble is not None:
            self._ensemble.push(new)
        elif self._share_of_old and self._playing:
            aggregate(old, new, self._share_of_old, self._rules.dt_ns)
        self._newest = 1 - self._newest
        self._between_ns = now_ns - self._taken_ns if self._taken_ns != _NEVER else 0
        self._taken_ns = now_ns
        self._oldest_ns = observed_ns
        self._taken += 1
        self._seam = True
        return ""

    @property
    def _curve(self) -> Curve:
        """The newest chunk."""
        return self._curves[self._newest]

    def _unusable(self, actions: Array, observed_ns: int, now_ns: int) -> str:
        if actions.ndim != 2 or actions.shape[1] != self._size:
            return f"a chunk of the shape {actions.shape} instead of [T, {self._size}]"
        count = len(actions)
        if not 2 <= count <= self._rules.steps:
            return f"a chunk of {count} actions instead of 2 to {self._rules.steps}"
        if observed_ns > now_ns:
            return f"its observation is {(observed_ns - now_ns) / 1e9:.3f} s in the future"
        if observed_ns <= self._oldest_ns:
            return "its observation is older than the newest chunk's, or from before a reset"
        length = count * self._rules.dt_ns
        if now_ns - observed_ns >= length:
            age, long = (now_ns - observed_ns) / 1e9, length / 1e9
            return f"its observation is {age:.3f} s old, and it is only {long:.3f} s long"
        if not np.isfinite(actions).all():
            row, element = (int(k) for k in np.argwhere(~np.isfinite(actions))[0])
            return f"element {element} of action {row} is not finite"
        return ""

    def action_at(self, now_ns: int) -> Array | None:
        """The action of now, float64 [A], in an array that stays. None: there is no valid one.

        The last action of a chunk is valid for one dt.
        """
        self._now_ns = max(self._now_ns, now_ns)
        curve = self._curve
        if not curve.count or not self._is_valid(curve, now_ns):
            self._starved += self._has_played
            self._playing = False
            return None
        elapsed_ns = now_ns - self._last_ns
        if self._playing and elapsed_ns > _STANDSTILL_PERIODS * self._period_ns:
            self._playing = False
        if not self._playing:
            elapsed_ns = self._period_ns
            self._start(now_ns)
        elif self._seam and self._rules.seam == "cross_fade":
            shortest = max(
                self._rules.fade_share * self._between_ns,
                self._rules.fade_ticks * self._period_ns,
            )
            self._begin_fade(self._last_ns, shortest)
        self._seam = False
        out = self._out
        self._read(now_ns, out)
        if self._fade.active:
            self._fade.add(now_ns, out)
        self._keep_within(out)
        if elapsed_ns > 0:
            np.subtract(out, self._last, out=self._rate)
            np.multiply(self._rate, 1e9 / elapsed_ns, out=self._rate)
            if not self._has_last:
                self._rate.fill(0.0)
        np.copyto(self._last, out)
        self._has_last = self._playing = True
        self._last_ns = now_ns
        return out

    @property
    def _has_played(self) -> bool:
        return self._last_ns != _NEVER

    def _is_valid(self, curve: Curve, now_ns: int) -> bool:
        if not self._playing and self._seam and self._rules.start == "restart":
            return now_ns - curve.observed_ns < curve.count * self._rules.dt_ns
        return now_ns < curve.end_ns

    def _read(self, now_ns: int, out: Array) -> None:
        if self._ensemble is not None:
            self._ensemble.read(now_ns, out)
        else:
            self._curve.read(now_ns, out)

    def _start(self, now_ns: int) -> None:
        """Begin to play from standstill, from the held command if one is known."""
        if self._rules.start == "restart" and self._seam:
            self._curve.start_ns = now_ns
            if self._ensemble is not None:
                self._ensemble.restart(now_ns)
        self._fade.active = False
        self._rate.fill(0.0)
        if self._has_last:
            shortest = self._rules.fade_ticks * self._period_ns
            self._begin_fade(now_ns - self._period_ns, shortest)

    def _begin_fade(self, start_ns: int, shortest_ns: float) -> None:
        """Fade from the last command, which was sent at `start_ns`, onto the newest chunk."""
        self._read(start_ns, self._work)
        np.subtract(self._last, self._work, out=self._gap)
        self._read(start_ns + self._period_ns, self._gap_rate)
        np.subtract(self._work, self._gap_rate, out=self._gap_rate)
        np.multiply(self._gap_rate, 1e9 / self._period_ns, out=self._gap_rate)
        np.add(self._gap_rate, self._rate, out=self._gap_rate)
        self._fade.begin(start_ns, self._gap, self._gap_rate, shortest_ns)

    def _keep_within(self, out: Array) -> None:
        """Limit the step of one period, as the robot's rate limit does; count it."""
        step = self._max_step
        if step is None or not self._has_last:
            return
        np.subtract(out, self._last, out=self._gap)
        np.abs(self._gap, out=self._work)
        # A rounding error is no limited tick.
        if (self._work > step * (1.0 + 1e-9)).any():
            self._limited += 1
            np.clip(self._gap, -step, step, out=self._gap)
            np.add(self._last, self._gap, out=out)

    def hold(self, command: Array) -> None:
        """Tell what is commanded while nothing is played, float64 [A].

        The next start fades from here.
        """
        np.copyto(self._last, command)
        self._has_last, self._playing = True, False

    def reset(self, now_ns: int | None = None) -> None:
        """Drop all chunks. Later offers with an observation from before now are refused.

        Args:
            now_ns: the time now; needed if `action_at` was not asked since the observation of an
                inference that still runs, and after a jump of the clock. None: the newest time of
                any call.
        """
        self._oldest_ns = self._now_ns if now_ns is None else now_ns - 1
        self._now_ns = self._oldest_ns if now_ns is None else now_ns
        if self._ensemble is not None:
            self._ensemble.clear()
        for curve in self._curves:
            curve.clear()
        self._fade.active = self._playing = self._seam = False
        self._taken_ns = self._last_ns = _NEVER
        self._between_ns = 0
        self._rate.fill(0.0)

    @property
    def report(self) -> ChunkReport:
        """The state now, and counts since the start."""
        curve, now = self._curve, self._now_ns
        known = bool(curve.count)
        return ChunkReport(
            age_ns=now - curve.observed_ns if known else 0,
            left_ns=max(0, curve.end_ns - now) if known else 0,
            at_index=curve.index(now) if known and self._playing else -1.0,
            gap=self._fade.gap,
            fading=self._fade.active,
            taken=self._taken,
            refused=self._refused,
            starved=self._starved,
            limited=self._limited,
            slow_ensemble=self._ensemble is not None and self._ensemble.is_slow,
        )
