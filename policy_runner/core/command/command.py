"""The command between decoder and robot: the limited target during RUN, otherwise the stop."""

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

    Attributes:
        values: the command.
        limit_hits: per element, how often a limit changed it, int64 [elements].
        exempt_steps: per element, how often it changed in one tick by more than the rate limit:
            to zero, or back into its bounds. int64 [elements].
        manner: how to publish the newest command.
        commanded: whether there was a command yet.
    """

    def __init__(self, pose: Array, measured: MeasuredPositions) -> None:
        """Start without a command.

        Args:
            pose: the default pose of positions, float64 [elements].
            measured: measured positions, and the elements of the command.
        """
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
        self._begin = np.zeros(size)  # first command of a blend
        self._rule: StopRule | None = None  # rule of the current stop
        self._zeroed = self._others
        self._settled: Settings | None = None  # a stop with these settings has reached its end
        self._limits: CommandLimits | None = None  # limits of the previous tick
        self._ticks = 0  # ticks of the blend so far
        self._left_ns = 0  # remaining time of the stop's ramp
        self._pose_left_ns = 0  # remaining time of the separate ramp to the default pose
        self._share = 1.0  # remaining share of the last effort, 0 to 1
        self._blending = False
        self.commanded = False
        # True if the next RUN is a fresh start (blend in), not a resume after HOLD.
        self._fresh_start = True

    def start_fresh(self) -> None:
        """Make the next RUN a fresh start, with a blend if the settings ask for one."""
        self._fresh_start = True
        if self.manner is RUNNING:
            self.manner = STOPPED

    def follow(self, target: Array, settings: Settings) -> Array:
        """Move the command towards the policy's target, as far as the limits allow.

        Args:
            target: float64 [elements].
            settings: limits and blend.
        """
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
        """Move the command towards a target before the policy runs: same limits, no blend.

        Args:
            target: float64 [elements].
            settings: the limits.
        """
        if self.manner is not MOVING:
            self.stand(target, settings)
            self.manner = MOVING
        return self._limited(target, settings.limits)

    def _limited(self, target: Array, limits: CommandLimits) -> Array:
        np.copyto(self._previous, self.values)
        limits.apply(target, self._previous, self.values, self.limit_hits)
        if limits is not self._limits:  # the last command may be outside the new bounds
            self._limits = limits
            self._count_exempt(limits)
        return self.values

    def _count_exempt(self, limits: CommandLimits) -> None:
        low, high = self._previous - limits.max_step, self._previous + limits.max_step
        self.exempt_steps += (self.values < low) | (self.values > high)

    def stand(self, unknown: Array, settings: Settings) -> Array:
        """Set and return the start value of the next command: the last command.

        For positions that were never commanded, or were damped: the measured position clipped to
        the limits, or `unknown` if it is not measured.

        Args:
            unknown: float64 [elements].
            settings: the limits.
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
        """For positions: (1 - a) * start position + a * target; a grows from 0 to 1."""
        self._ticks += 1
        share = self._ticks * settings.period_ns / max(1, settings.blend_in_ns)
        if share >= 1.0:
            self._blending = False
            return target
        return np.where(self._position, (1.0 - share) * self._begin + share * target, target)

    def stop(self, settings: Settings, latched: bool = False) -> Array | None:
        """Compute one tick of the stop in `settings.stops`.

        Args:
            settings: stop rule and limits.
            latched: the decision is SAFE_STOP, not HOLD.

        Returns:
            The command, float64 [elements]. None: the policy commands positions, but nothing was
            commanded yet, so there is no position to hold.
        """
        if not self.commanded and self._has_position:
            return None
        self._fresh_start |= latched
        if self._settled is settings:
            return self.values
        rule = settings.stops
        # Compare by value: other parameters may change during the stop.
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
        """Use this rule and these limits for the stop.

        A change during a stop shortens the ramp of elements that still move, never lengthens it.
        The ramp to the default pose restarts, because the pose may now be farther away.
        """
        ramp_ns = rule.ramp_ns // settings.period_ns * settings.period_ns
        if self._rule is None:
            self._left_ns, self._share = ramp_ns, 1.0
        self._left_ns, self._pose_left_ns = min(self._left_ns, ramp_ns), ramp_ns
        if self.manner.damped and rule.position != "damping":
            # The joints sank during damping, so the last command is outdated.
            self._stand_where_measured(self.values, settings.limits)
        self._rule = rule
        kinds = enumerate(self._kinds)
        zeroed = [k for k, kind in kinds if kind != "position" and getattr(rule, kind) == "zero"]
        self._zeroed = np.array(zeroed, dtype=np.intp)

    def last(self, settings: Settings) -> Array | None:
        """Compute the final command: positions stay, all other elements are zero, without a ramp.

        No command follows it, so nothing may keep moving.

        Args:
            settings: stop rule and limits.

        Returns:
            The command, float64 [elements], or None as in `stop`.
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
        """Return to the previous command, because this tick's command was not sent."""
        np.copyto(self.values, self._previous)
        self._settled = None

    def _go(self, goal: Array, settings: Settings) -> Array:
        """Move positions at their rate limit and all other elements at once; keep all bounds.

        Steps above the rate limit are counted in `exempt_steps`.
        """
        limits = self._limits = settings.limits
        np.copyto(self._previous, self.values)
        low, high = self._previous - limits.max_step, self._previous + limits.max_step
        np.copyto(self.values, np.where(self._position, np.clip(goal, low, high), goal))
        np.clip(self.values, limits.low, limits.high, out=self.values)
        self.limit_hits += self.values != goal
        self._count_exempt(limits)
        return self.values

    def continue_from(self, before: Command, settings: Settings) -> None:
        """Continue from the last command of the previous policy.

        The rate limit counts from that command, and a stop continues with the rest of its ramp.
        The ramp to the default pose restarts, because the pose may be different. A position that
        the previous policy did not command starts at its measured position. If it is not
        measured, it starts at the default pose, also during a stop: no better value is known.

        Args:
            before: the previous policy's command.
            settings: the limits.
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
        # During RUN this policy is new, so `follow` blends it in if the settings ask for it.
        self.manner = STOPPED if before.manner is RUNNING else before.manner

    def stopped_by_guard(self) -> None:
        """Continue from the guard's command: positions unchanged, all other elements 0.

        The guard is another process.
        """
        self.values[self._others] = 0.0
        self._rule = self._settled = None
        self._share = 0.0
        self.start_fresh()

    def forget(self) -> None:
        """Return to the state before the first command."""
        self.commanded, self._fresh_start, self._blending = False, True, False
        self._rule = self._settled = None
        self.manner = STOPPED
        self.values.fill(0.0)


def _part(left_ns: int, period_ns: int) -> tuple[float, int]:
    """The share of a ramp that remains after one tick, 0 to 1, and its remaining time [ns].

    All steps are equal; the last one reaches 0.
    """
    if left_ns <= period_ns:
        return 0.0, 0
    return (left_ns - period_ns) / left_ns, left_ns - period_ns
