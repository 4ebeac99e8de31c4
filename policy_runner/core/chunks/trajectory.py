"""Chunks as trajectories for a controller that interpolates by itself.

`joint_trajectory_controller` draws a cubic between two points that have positions and velocities,
and a quintic if they also have accelerations. A newer trajectory whose first point lies in the
future replaces the rest of the older one from that time on. So a trajectory begins with the
position and the velocity that the older one has there: the motion is C1 over the seam, and C2 with
accelerations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from policy_runner.core.chunks.curve import knot_rates
from policy_runner.core.chunks.fade import Fade
from policy_runner.core.chunks.rules import ChunkRules
from policy_runner.core.model import Array

# Time of the stop after the last action, in action steps. With the velocity v the stop covers
# v * dt / 3: then the cubic to rest is monotone.
_STOP_SHARE = 3.0


class Motion(NamedTuple):
    """A point of a motion: position, its rate, and the rate of that, float64 [A] each."""

    position: Array
    velocity: Array
    acceleration: Array


@dataclass(frozen=True)
class Trajectory:
    """What a `trajectory_msgs/JointTrajectory` has.

    Attributes:
        stamp_ns: time of the first point [ns], the header's stamp.
        times_ns: from the stamp, strictly rising, the first one is 0, int64 [n].
        positions: float64 [n, A].
        velocities: per second, float64 [n, A]; the last one is 0.
        accelerations: per second squared, float64 [n, A]; None: none are sent.
    """

    stamp_ns: int
    times_ns: npt.NDArray[np.int64]
    positions: Array
    velocities: Array
    accelerations: Array | None = None

    def at(self, now_ns: int) -> Motion:
        """The motion at a time, as the controller interpolates it; at rest after the end."""
        powers, t = self._polynomial(now_ns)
        return evaluated(powers, t)

    def position_at(self, now_ns: int) -> Array:
        """The position of `at`, float64 [A]; for every tick, so without the derivatives."""
        powers, t = self._polynomial(now_ns)
        return _sum(powers, t)

    def _polynomial(self, now_ns: int) -> tuple[list[Array], float]:
        """The coefficients that count at a time, and the time since their point [s]."""
        passed = now_ns - self.stamp_ns
        last = len(self.times_ns) - 1
        if passed >= self.times_ns[last]:
            return [self.positions[last]], 0.0
        k = max(0, int(np.searchsorted(self.times_ns, passed, side="right")) - 1)
        span = float(self.times_ns[k + 1] - self.times_ns[k]) * 1e-9
        powers = interpolation(span, self.point(k), self.point(k + 1))
        return powers, max(0.0, (passed - float(self.times_ns[k])) * 1e-9)

    def rest(self, start_ns: int) -> Trajectory | None:
        """The same motion from a later time on; None: it has ended by then."""
        later = np.flatnonzero(self.times_ns > start_ns - self.stamp_ns)
        if not later.size:
            return None
        first, bends = self.at(start_ns), self.accelerations
        times = np.append(0, self.times_ns[later] - (start_ns - self.stamp_ns))
        return Trajectory(
            start_ns,
            times,
            np.vstack([first.position, self.positions[later]]),
            np.vstack([first.velocity, self.velocities[later]]),
            None if bends is None else np.vstack([first.acceleration, bends[later]]),
        )

    def point(self, k: int) -> tuple[Array, Array, Array | None]:
        """Position, velocity and acceleration of a point, [A] each."""
        given = self.accelerations
        return self.positions[k], self.velocities[k], None if given is None else given[k]


Point = tuple[Array, Array, "Array | None"]


def interpolation(span: float, first: Point, second: Point) -> list[Array]:
    """The coefficients of 1, t, t^2, ... between two points: a cubic, or a quintic.

    Source: joint_trajectory_controller, Trajectory::interpolate_between_points.

    Args:
        span: time between the points [s].
        first: position, velocity and acceleration of the first point.
        second: the same of the second point; a cubic if an acceleration is None.
    """
    (p0, v0, a0), (p1, v1, a1) = first, second
    way = p1 - p0
    if a0 is None or a1 is None:
        square = (3.0 * way - (2.0 * v0 + v1) * span) / span**2
        cube = (-2.0 * way + (v0 + v1) * span) / span**3
        return [p0, v0, square, cube]
    bend0, bend1 = a0 * span**2, a1 * span**2
    cube = (20.0 * way - (12.0 * v0 + 8.0 * v1) * span - 3.0 * bend0 + bend1) / (2.0 * span**3)
    fourth = (-30.0 * way + (16.0 * v0 + 14.0 * v1) * span + 3.0 * bend0 - 2.0 * bend1) / (
        2.0 * span**4
    )
    fifth = (12.0 * way - 6.0 * (v0 + v1) * span - bend0 + bend1) / (2.0 * span**5)
    return [p0, v0, a0 / 2.0, cube, fourth, fifth]


def evaluated(powers: list[Array], t: float) -> Motion:
    """The polynomial with these coefficients and its first two derivatives at `t` [s]."""
    found = []
    for _ in range(3):
        found.append(_sum(powers, t))
        powers = [k * one for k, one in enumerate(powers) if k] or [np.zeros_like(powers[0])]
    return Motion(*found)


def _sum(powers: list[Array], t: float) -> Array:
    """The polynomial with these coefficients at `t`, by Horner's rule."""
    total = powers[-1].copy()
    for one in reversed(powers[:-1]):
        total = total * t + one
    return total


class TrajectoryPlanner:
    """Makes one trajectory of every chunk, continuous with the one before."""

    def __init__(
        self,
        rules: ChunkRules,
        size: int,
        period_ns: int,
        lead_ns: int,
        accelerations: bool = False,
    ) -> None:
        """Allocate.

        Args:
            rules: the same as of `ChunkPlayer`; seams are always faded.
            size: elements of an action, A.
            period_ns: the control period [ns]; `fade_ticks` counts it.
            lead_ns: time between the sending and the first point [ns], for transport.
            accelerations: send them, so that the controller draws quintics.
        """
        self._accelerates = accelerations
        self._rules, self._period_ns, self._lead_ns = rules, period_ns, lead_ns
        self._fade = Fade(size, rules.catch_up_rate)
        self._newest: Trajectory | None = None
        self._held: Array | None = None
        self._sent_ns: int | None = None

    @property
    def gap(self) -> float:
        """The largest gap of the newest seam."""
        return self._fade.gap

    def hold(self, command: Array) -> None:
        """Tell what is commanded while no trajectory is followed, float64 [A]."""
        self._held = command.copy()
        self._newest = self._sent_ns = None

    def plan(self, actions: Array, observed_ns: int, now_ns: int) -> Trajectory | None:
        """Make the trajectory of a chunk that `ChunkPlayer` would take.

        Args:
            actions: float64 [T, A].
            observed_ns: time of the observation [ns].
            now_ns: the time now.

        Returns:
            None: less than one step of the chunk is left after the lead time.
        """
        rules = self._rules
        stamp = now_ns + self._lead_ns
        rates = knot_rates(actions) / (rules.dt_ns * 1e-9)
        first = max(0, -(-(stamp - observed_ns) // rules.dt_ns))  # first action from the stamp on
        if first >= len(actions):
            return None
        knots = observed_ns + rules.dt_ns * np.arange(first, len(actions), dtype=np.int64)
        times = knots if knots[0] == stamp else np.concatenate([[stamp], knots])
        # At an action the curve has the action's own position and rate. Only the stamp may lie
        # between two actions. In the control thread, every further evaluation would cost.
        positions, velocities = actions[first:].copy(), rates[first:]
        if knots[0] != stamp:
            chunk = Trajectory(
                observed_ns, rules.dt_ns * np.arange(len(actions), dtype=np.int64), actions, rates
            )
            begin = chunk.at(stamp)
            positions = np.vstack([begin.position, positions])
            velocities = np.vstack([begin.velocity, velocities])
        bend = self._begin(stamp, positions[0], velocities[0])
        for k, now in enumerate(times.tolist()):
            if self._fade.active:
                self._fade.add(now, positions[k])
                self._fade.add_rate(now, velocities[k])
        stop = times[-1] + rules.dt_ns
        rest = positions[-1] + velocities[-1] * (rules.dt_ns * 1e-9 / _STOP_SHARE)
        times = np.append(times, stop) - stamp
        velocities = np.vstack([velocities, np.zeros(len(rest))])
        bends = None
        if self._accelerates:
            bends = np.gradient(velocities, times * 1e-9, axis=0)
            bends[0], bends[-1] = bend, 0.0
        positions = np.vstack([positions, rest])
        self._newest = Trajectory(stamp, times, positions, velocities, bends)
        self._sent_ns = now_ns
        return self._newest

    def _begin(self, stamp: int, position: Array, velocity: Array) -> Array:
        """Fade from the motion that is commanded at the stamp; return its acceleration [A]."""
        rest = np.zeros_like(position)
        if self._newest is not None:
            before, rate, bend = self._newest.at(stamp)
        elif self._held is not None:
            before, rate, bend = self._held, rest, rest
        else:
            self._fade.active = False
            return rest
        shortest: float = self._rules.fade_ticks * self._period_ns
        if self._sent_ns is not None:
            between = stamp - self._lead_ns - self._sent_ns
            shortest = max(shortest, self._rules.fade_share * between)
        self._fade.begin(stamp, before - position, rate - velocity, shortest)
        return bend
