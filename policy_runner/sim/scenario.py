"""The demo's scenario: seeded commands and pushes, a count of falls, standing up, and the score.

Pure simulation, by default at 100 Hz, without a clock and without ROS. The node and the
handwritten loop of the tests use the same class, so their scores are comparable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from policy_runner.core.model import Array
from policy_runner.sim.balancer import Balancer
from policy_runner.sim.plant.plant import physics_steps

RATE_HZ = 100
FORWARD_LIMIT = 0.6  # m/s, commands are drawn from -limit to limit
YAW_LIMIT = 1.0  # rad/s
COMMAND_HOLD_S = (3.0, 6.0)
PUSH_PAUSE_S = (4.0, 8.0)
PUSH_FORCE_N = (13.0, 17.0)
PUSH_DURATION_S = 0.1
SETTLING_S = 1.5  # time after a push or a change of command without a velocity error
LYING_S = 1.0  # time that the robot lies after a fall
WATCHDOG_S = 0.2  # after this time without a command the motors' targets are zero


@dataclass(frozen=True)
class Score:
    """The result of a run. Velocity errors are None if no time was counted."""

    simulated_s: float
    commands: int  # ticks with a command
    falls: int
    first_fall_s: float | None
    upright_share: float  # share of the simulated time that the robot was upright
    counted_s: float  # time over which the velocity error was measured
    velocity_rmse_forward: float | None  # m/s
    velocity_rmse_yaw: float | None  # rad/s

    def as_json(self) -> dict[str, Any]:
        """Return the score for reports, with both velocity errors under `velocity_rmse`."""
        values = asdict(self)
        values["velocity_rmse"] = {
            "forward": values.pop("velocity_rmse_forward"),
            "yaw": values.pop("velocity_rmse_yaw"),
        }
        return values


class Scenario:
    """One run of one robot. Time advances only in `tick`, by 1 / `rate_hz` per call."""

    def __init__(
        self,
        balancer: Balancer,
        seed: int,
        commands: bool = True,
        pushes: bool = True,
        rate_hz: int = RATE_HZ,
    ) -> None:
        """Reset the robot and draw the first command.

        Commands and pushes have separate random generators, so switching one off does not change
        the other.

        Args:
            balancer: the robot.
            seed: of commands, pushes and tilts.
            commands: False if another source commands the robot; then no velocity error is counted.
            pushes: whether the robot is pushed.
            rate_hz: ticks per simulated second.

        Raises:
            Refusal: a tick is not a whole number of physics steps.
        """
        self.balancer = balancer
        self.tick_s = 1.0 / rate_hz
        self._steps = physics_steps(self.tick_s, balancer.timestep_s, "rate")
        streams = np.random.SeedSequence(seed).spawn(3)
        self._rng_stand, self._rng_commands, self._rng_pushes = map(np.random.default_rng, streams)
        self._with_commands, self._with_pushes = commands, pushes
        self.command = (0.0, 0.0)  # (forward [m/s], yaw rate [rad/s]), valid from this tick on
        self.ticks = 0
        self.answered = 0
        self.falls = 0
        self.first_fall_s: float | None = None
        self.last_fall_tick: int | None = None
        self._lies_until: int | None = None
        self._upright_ticks = 0
        self._target: Array = np.zeros(2)
        self._target_until = 0
        self._settled_from = 0
        self._squares = np.zeros(2)
        self._counted = 0
        self._next_command = 0
        self._next_push = self._in_ticks(self._rng_pushes.uniform(*PUSH_PAUSE_S))
        balancer.reset(self._rng_stand)
        self._draw_command()

    @property
    def time_s(self) -> float:
        """Simulated time [s]."""
        return self.ticks * self.tick_s

    @property
    def lying(self) -> bool:
        """Whether the robot has fallen and has not stood up yet."""
        return self._lies_until is not None

    @property
    def upright_s(self) -> float:
        """Time since the robot last stood up, or since the start [s]; 0 while it lies."""
        if self.lying:
            return 0.0
        since = 0 if self.last_fall_tick is None else self.last_fall_tick + self._in_ticks(LYING_S)
        return (self.ticks - since) * self.tick_s

    def tick(self, target: Sequence[float] | Array | None) -> None:
        """Apply wheel velocity targets and advance by one tick. The motors are off while it lies.

        Args:
            target: (left, right) [rad/s]; None: no command arrived, so the last one holds for at
                most `WATCHDOG_S`.
        """
        if target is not None:
            self._target = np.array(target, dtype=np.float64)
            self._target_until = self.ticks + self._in_ticks(WATCHDOG_S)
            self.answered += 1
        off = self.lying or self.ticks >= self._target_until
        self.balancer.advance(np.zeros(2) if off else self._target, self._steps)
        self.ticks += 1
        self._judge()
        self._draw_command()
        self._draw_push()

    def stop_wheels(self) -> None:
        """Switch the motors off now, until the next command."""
        self._target_until = 0

    def _judge(self) -> None:
        """Count falls and the velocity error of this tick, against the present command.

        The errors are `forward_velocity` and `yaw_rate` minus their commands, squared, without an
        average or a filter. A tick counts if the robot is upright and at least `SETTLING_S` have
        passed since the last change of command, the end of the last push, and standing up.
        """
        balancer = self.balancer
        if self._lies_until is not None:
            if self.ticks >= self._lies_until:
                self._lies_until = None
                balancer.stand_up(self._rng_stand)
                self._settle()
            return
        if balancer.fallen:
            self.falls += 1
            self.last_fall_tick = self.ticks
            if self.first_fall_s is None:
                self.first_fall_s = self.time_s
            self._lies_until = self.ticks + self._in_ticks(LYING_S)
            return
        self._upright_ticks += 1
        if self._with_commands and self.ticks >= self._settled_from:
            measured = (balancer.forward_velocity, balancer.yaw_rate)
            self._squares += np.subtract(measured, self.command) ** 2
            self._counted += 1

    def _settle(self, after_s: float = 0.0) -> None:
        self._settled_from = max(
            self._settled_from, self.ticks + self._in_ticks(after_s + SETTLING_S)
        )

    def _draw_command(self) -> None:
        if not self._with_commands or self.ticks < self._next_command:
            return
        rng = self._rng_commands
        forward, yaw = rng.uniform(-1.0, 1.0, 2) * (FORWARD_LIMIT, YAW_LIMIT)
        self.command = (float(forward), float(yaw))
        self._next_command = self.ticks + self._in_ticks(rng.uniform(*COMMAND_HOLD_S))
        self._settle()

    def _draw_push(self) -> None:
        if not self._with_pushes or self.ticks < self._next_push:
            return
        rng = self._rng_pushes
        force, direction = rng.uniform(*PUSH_FORCE_N), rng.uniform(-math.pi, math.pi)
        self._next_push = self.ticks + self._in_ticks(rng.uniform(*PUSH_PAUSE_S))
        if not self.lying:
            self.balancer.push(force, PUSH_DURATION_S, direction)
            self._settle(PUSH_DURATION_S)

    def score(self) -> Score:
        """Return the score so far."""
        rmse: list[float | None] = [None, None]
        if self._counted:
            rmse = [math.sqrt(s / self._counted) for s in self._squares]
        share = self._upright_ticks / self.ticks if self.ticks else 1.0
        return Score(
            simulated_s=round(self.time_s, 6),
            commands=self.answered,
            falls=self.falls,
            first_fall_s=self.first_fall_s,
            upright_share=share,
            counted_s=self._counted * self.tick_s,
            velocity_rmse_forward=rmse[0],
            velocity_rmse_yaw=rmse[1],
        )

    def _in_ticks(self, seconds: float) -> int:
        return max(1, round(seconds / self.tick_s))
