"""The command between decoder and robot: limited while it runs, the right stop when not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from policy_runner.core.inputs.measured_positions import MeasuredPositions
from policy_runner.core.model import Array
from policy_runner.core.settings import (
    MOVING,
    RUNNING,
    STOPPED,
    CommandLimits,
    Manner,
    Settings,
    StopRule,
)

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
        self._rule: StopRule | None = None  # of the current stop
        self._zeroed = self._others
        self._settled: Settings | None = None  # a stop with these has reached its end
        self._limits: CommandLimits | None = None  # of the tick before
        self._ticks = 0  # of the blend
        self._left_ns = 0  # of the stop's ramp
        self._pose_left_ns = 0  # of the way to the default pose: a ramp of its own
        self._share = 1.0  # of the last effort that is still there
        self._blending = False
        self.commanded = False
        # True if the next RUN is a fresh start (blend in), not a resume after HOLD.
        self._fresh_start = True

    def start_fresh(self) -> None:
        """The next RUN is a fresh start, with a blend if the settings ask for one."""
        self._fresh_start = True
        if self.manner is RUNNING:
            self.manner = STOPPED

    def follow(self, target: Array, settings: Settings) -> Array:
        """Towards the target, as far as the limits allow."""
        if self.manner is not RUNNING:
            self.stand(target, settings)
            # A HOLD during a blend does not end it: the blend restarts from the current positions.
            wanted = self._has_position and settings.blend_in_ns > 0
            self._blending = wanted and (self._fresh_start or self._blending)
            np.copyto(self._begin, self.values)
            self._ticks, self._fresh_start, self.manner = 0, False, RUNNING
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
        """Start value of the next command: the last command.

        For positions that were never commanded, or were damped: the measured position clipped to
        the limits, or `unknown` if it is not measured.
        """
        if not self.commanded or self.manner.damped:
            self._stand_where_measured(unknown, settings.limits)
        self._rule = self._settled = None
        self.commanded = True
        return self.values

    def _stand_where_measured(self, unknown: Array, limits: CommandLimits) -> None:
        measured = self._measured.read(self._previous)
        known = np.where(np.isfinite(measured), measured, unknown)
        start = np.where(self._position, known, self.values)
        np.clip(start, limits.low, limits.high, out=self.values)

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
        self._fresh_start |= latched
        if self._settled is settings:
            return self.values
        rule = settings.stops
        # By value: other parameters may change meanwhile.
        if rule != self._rule or not settings.limits.same_as(self._limits):
            self._take(rule, settings)
        self.commanded = True
        keep, self._left_ns = _part(self._left_ns, settings.period_ns)
        self._share *= keep
        share = self._share
        self.manner = Manner(
            None if rule.effort == "hold" else share,
            rule.position == "damping",
            1.0 if rule.velocity == "hold" else share,
            1.0 if rule.effort == "hold" else share,
        )
        goal = self.values.copy()
        goal[self._zeroed] *= keep
        away = 0.0
        if rule.position == "default_pose":
            away, self._pose_left_ns = _part(self._pose_left_ns, settings.period_ns)
            towards = self._pose + away * (goal - self._pose)
            goal = np.where(self._position, towards, goal)
        self._go(goal, settings)
        if not keep and not away and self.values.tobytes() == self._previous.tobytes():
            self._settled = settings
        return self.values

    def _take(self, rule: StopRule, settings: Settings) -> None:
        """Stop by this rule and these limits.

        What changes on the way makes the ramp of all that moves shorter, never longer; the way
        to the default pose begins anew, since there may be more of it than before.
        """
        ramp_ns = rule.ramp_ns // settings.period_ns * settings.period_ns
        if self._rule is None:
            self._left_ns, self._share = ramp_ns, 1.0
        self._left_ns, self._pose_left_ns = min(self._left_ns, ramp_ns), ramp_ns
        if self.manner.damped and rule.position != "damping":
            # The last command is from before the joints sank.
            self._stand_where_measured(self.values, settings.limits)
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

    def take_back(self) -> None:
        """The command of this tick did not leave: the one before it is the last one again."""
        np.copyto(self.values, self._previous)
        self._settled = None

    def _go(self, goal: Array, settings: Settings) -> Array:
        """Positions at their rate, all else at once and counted; bounds hold for all."""
        limits = self._limits = settings.limits
        np.copyto(self._previous, self.values)
        low, high = self._previous - limits.max_step, self._previous + limits.max_step
        np.copyto(self.values, np.where(self._position, np.clip(goal, low, high), goal))
        np.clip(self.values, limits.low, limits.high, out=self.values)
        self.limit_hits += self.values != goal
        self._count_exempt(limits)
        return self.values

    def continue_from(self, before: Command, settings: Settings) -> None:
        """Go on from the last command of a policy that this one takes over from.

        So the rate limit counts from it, and a stop goes on with what is left of its ramp; the
        way to the default pose, which may be another one, begins anew. A position that the
        other did not command begins where it is measured; where nobody measures it, at the
        default pose, also in a stop: there is nothing better to hold.
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
        self._rule, self._left_ns, self._share = before._rule, before._left_ns, before._share
        # While it runs this policy is still new: where a blend is wanted, it is blended in.
        self.manner = STOPPED if before.manner is RUNNING else before.manner

    def stopped_by_guard(self) -> None:
        """Another process has sent 0 for all but the positions, which it left as they were."""
        self.values[self._others] = 0.0
        self._rule = self._settled = None
        self._share = 0.0
        self.start_fresh()

    def forget(self) -> None:
        """As if nothing had ever been commanded."""
        self.commanded, self._fresh_start, self._blending = False, True, False
        self._rule = self._settled = None
        self.manner = STOPPED
        self.values.fill(0.0)


def _part(left_ns: int, period_ns: int) -> tuple[float, int]:
    """What one tick leaves of the way, 0 to 1, and of its time: equal steps, 0 at the end."""
    if left_ns <= period_ns:
        return 0.0, 0
    return (left_ns - period_ns) / left_ns, left_ns - period_ns
