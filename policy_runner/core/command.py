"""The command between decoder and robot: limited while it runs, the right stop when not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from policy_runner.core.limits import CommandLimits
from policy_runner.core.measured import MeasuredPositions
from policy_runner.core.settings import Settings
from policy_runner.core.stopping import MOVING, RUNNING, STOPPED, Manner, StopRule

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


class Command:
    """The newest command, float64 [elements] in policy joints and units.

    `limit_hits` counts per element how often a limit changed it, `exempt_steps` how often it
    went further in one tick than the rate limit allows: to zero, or back into its bounds.
    `manner` says how the newest one is to be published, `commanded` whether there was one yet.
    """

    def __init__(self, pose: Array, measured: MeasuredPositions) -> None:
        """`pose`: the default pose of positions, float64 [elements]."""
        elements = measured.elements
        size = len(elements)
        self.values = np.zeros(size)
        self.limit_hits: Counts = np.zeros(size, dtype=np.int64)
        self.exempt_steps: Counts = np.zeros(size, dtype=np.int64)
        self.manner: Manner = STOPPED
        self._pose = pose
        self._measured = measured
        self._kinds = [element.kind for element in elements]
        self._position = np.array([kind == "position" for kind in self._kinds], dtype=bool)
        self._has_position = bool(self._position.any())
        self._others = np.flatnonzero(~self._position)
        self._previous = np.zeros(size)
        self._begin = np.zeros(size)  # of a blend
        self._rule: StopRule | None = None  # of the stop that goes on
        self._zeroed = self._others
        self._settled: Settings | None = None  # a stop with these changes nothing any more
        self._limits: CommandLimits | None = None  # of the tick before
        self._ticks = 0  # of the blend
        self._left = 0  # ticks of the stop's ramp
        self._share = 1.0  # of the last effort that is still there
        self._blending = False
        self.commanded = False
        self._anew = True  # the next run is no mere resumption after HOLD

    def follow(self, target: Array, settings: Settings) -> Array:
        """Towards the target, as far as the limits allow."""
        if self.manner is not RUNNING:
            self.stand(target, settings)
            self._blending = self._anew and self._has_position and settings.blend_in_ns > 0
            np.copyto(self._begin, self.values)
            self._ticks, self._anew, self.manner = 0, False, RUNNING
        if self._blending:
            target = self._blended(target, settings)
        return self._limited(target, settings.limits)

    def move(self, target: Array, settings: Settings) -> Array:
        """Towards the target before the policy runs: the same limits, no blend."""
        if self.manner is not MOVING:
            self.stand(target, settings)
            self.manner = MOVING
        return self._limited(target, settings.limits)

    def _limited(self, target: Array, limits: CommandLimits) -> Array:
        np.copyto(self._previous, self.values)
        limits.apply(target, self._previous, self.values, self.limit_hits)
        if limits is not self._limits:  # the last command may lie outside of new bounds
            self._limits = limits
            self._count_exempt(limits)
        return self.values

    def _count_exempt(self, limits: CommandLimits) -> None:
        low, high = self._previous - limits.max_step, self._previous + limits.max_step
        self.exempt_steps += (self.values < low) | (self.values > high)

    def stand(self, unknown: Array, settings: Settings) -> Array:
        """From where the next command is counted.

        That is the last one; of positions that were never commanded, or damped since, the
        measured one clipped into the bounds, and `unknown` where nobody measures.
        """
        if not self.commanded or self.manner.damped:
            measured = self._measured.read(self._previous)
            known = np.where(np.isfinite(measured), measured, unknown)
            start = np.where(self._position, known, self.values)
            np.clip(start, settings.limits.low, settings.limits.high, out=self.values)
        self._rule = self._settled = None
        self.commanded = True
        return self.values

    def _blended(self, target: Array, settings: Settings) -> Array:
        """(1 - a) * pose at the beginning + a * target for positions, a growing from 0 to 1."""
        self._ticks += 1
        share = self._ticks * settings.period_ns / max(1, settings.blend_in_ns)
        if share >= 1.0:
            self._blending = False
            return target
        return np.where(self._position, (1.0 - share) * self._begin + share * target, target)

    def stop(self, settings: Settings, latched: bool = False) -> Array | None:
        """One tick of what `settings.stops` wants; `latched`: SAFE_STOP, not HOLD.

        None while a position was never commanded: there is nothing to hold.
        """
        if not self.commanded and self._has_position:
            return None
        self._anew |= latched
        if self._settled is settings:
            return self.values
        rule = settings.stops
        if rule != self._rule:  # by value: other parameters may change meanwhile
            self._take(rule, rule.ramp_ns // settings.period_ns)
        self.commanded = True
        keep = 0.0  # of what is left to go; so many equal parts until there is nothing left
        if self._left > 1:
            keep = (self._left - 1) / self._left
            self._left -= 1
        self._share *= keep
        share = None if rule.effort == "hold" else self._share
        self.manner = Manner(share, rule.position == "damping")
        goal = self.values.copy()
        goal[self._zeroed] *= keep
        if rule.position == "default_pose":
            towards = self._pose + keep * (goal - self._pose)
            goal = np.where(self._position, towards, goal)
        self._go(goal, settings)
        if not keep and self.values.tobytes() == self._previous.tobytes():
            self._settled = settings
        return self.values

    def _begin_stop(self, rule: StopRule) -> None:
        self._rule, self._ticks = rule, 0
        np.copyto(self._begin, self.values)
        kinds = enumerate(self._kinds)
        self._zeroed = np.array(
            [k for k, kind in kinds if kind != "position" and getattr(rule, kind) == "zero"],
            dtype=np.intp,
        )

    def _take(self, rule: StopRule, ticks: int) -> None:
        """Stop by this rule; one that changes on the way makes the ramp shorter, never longer."""
        if self._rule is None:
            self._left, self._share = ticks, 1.0
        self._left = min(self._left, ticks)
        self._rule = rule
        kinds = enumerate(self._kinds)
        zeroed = [k for k, kind in kinds if kind != "position" and getattr(rule, kind) == "zero"]
        self._zeroed = np.array(zeroed, dtype=np.intp)

    def last(self, settings: Settings) -> Array | None:
        """The last one of all: positions stay, all else is zero, whatever ramps there are.

        Nobody commands after it, so nothing may go on moving; None as for `stop`.
        """
        if not self.commanded and self._has_position:
            return None
        self.commanded = True
        self._rule = self._settled = None
        self.manner = Manner(0.0, settings.stops.position == "damping")
        goal = self.values.copy()
        goal[self._others] = 0.0
        return self._go(goal, settings)

    def _go(self, goal: Array, settings: Settings) -> Array:
        """Positions at their rate, all else at once and counted; bounds hold for all."""
        limits = settings.limits
        np.copyto(self._previous, self.values)
        low, high = self._previous - limits.max_step, self._previous + limits.max_step
        np.copyto(self.values, np.where(self._position, np.clip(goal, low, high), goal))
        np.clip(self.values, limits.low, limits.high, out=self.values)
        self.limit_hits += self.values != goal
        self._count_exempt(limits)
        return self.values

    def continue_from(self, before: Command, settings: Settings) -> None:
        """Go on from the last command of a policy that this one takes over from.

        So the rate limit counts from it. An element that the other did not command begins as
        any does at its first command.
        """
        if not before.commanded:
            return
        places = {element: k for k, element in enumerate(before._measured.elements)}
        self.stand(self._pose, settings)
        for k, element in enumerate(self._measured.elements):
            if element in places:
                there = places[element]
                self.values[k] = before.values[there]
                self.limit_hits[k] = before.limit_hits[there]
                self.exempt_steps[k] = before.exempt_steps[there]
        if before._rule is not None:  # a stop goes on, it does not begin again
            self._begin_stop(before._rule)
            self._ticks = before._ticks
            for k, element in enumerate(self._measured.elements):
                if element in places:
                    self._begin[k] = before._begin[places[element]]
        # While it runs this policy is still new: where a blend is wanted, it is blended in.
        self.manner = STOPPED if before.manner is RUNNING else before.manner

    def forget(self) -> None:
        """As if nothing had ever been commanded."""
        self.commanded, self._anew, self._blending = False, True, False
        self._rule = self._settled = None
        self.manner = STOPPED
        self.values.fill(0.0)
