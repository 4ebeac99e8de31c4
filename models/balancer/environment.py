"""The training environment of the balancer: the simulated robot, harder than the demo makes it."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from policy_runner.core.model import Array
from policy_runner.sim.balancer import Balancer
from policy_runner.sim.handwritten_loop import MAX_WHEEL_SPEED, OBSERVATION_SIZE, observe
from policy_runner.sim.scenario import FORWARD_LIMIT, PUSH_DURATION_S, RATE_HZ, YAW_LIMIT
from policy_runner.sim.sensors import Noise, with_noise
from policy_runner.sim.variation import draw_variation

EPISODE_TICKS = 1000
DELAY_S = (0.0, 0.04)
COMMAND_TICKS = (150, 500)
MEAN_PUSH_PAUSE_TICKS = 300
PUSH_FORCE_N = (5.0, 25.0)
STANDING_SHARE = 0.15  # of the commands are zero


class BalancerEnvironment(gymnasium.Env[npt.NDArray[np.float32], npt.NDArray[np.float32]]):
    """Follow a forward and a turning velocity for 10 s without falling.

    Every episode: another robot and floor (mass, height of the centre of mass, friction, servo),
    another delay of the action, another start; noise in all readings; commands and pushes at
    random times. An episode ends early with a fall.
    """

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBSERVATION_SIZE,))
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
        self._balancer = Balancer()
        self._steps = round(1 / (RATE_HZ * self._balancer.timestep_s))
        self._noise = Noise()
        self._command = (0.0, 0.0)
        self._action: Array = np.zeros(2)
        self._tick = 0
        self._next_command = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        rng = self.np_random
        self._balancer.vary(draw_variation(rng))
        self._balancer.set_delay(rng.uniform(*DELAY_S))
        self._balancer.stand(rng.uniform(-0.25, 0.25), rng.uniform(-0.7, 0.7))
        self._action = np.zeros(2)
        self._tick = 0
        self._draw_command()
        return self._observe(), {}

    def step(
        self, action: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        rng, balancer = self.np_random, self._balancer
        if rng.random() * MEAN_PUSH_PAUSE_TICKS < 1.0:
            force, direction = rng.uniform(*PUSH_FORCE_N), rng.uniform(-math.pi, math.pi)
            balancer.push(force, PUSH_DURATION_S, direction)
        before, self._action = self._action, np.clip(action, -1.0, 1.0).astype(np.float64)
        balancer.advance(self._action * MAX_WHEEL_SPEED, self._steps)
        self._tick += 1
        fallen = balancer.fallen
        reward = -10.0 if fallen else self._reward(self._action - before)
        if self._tick >= self._next_command:
            self._draw_command()
        return self._observe(), reward, fallen, self._tick >= EPISODE_TICKS, {}

    def _reward(self, change: Array) -> float:
        forward = self._balancer.forward_velocity - self._command[0]
        yaw = self._balancer.yaw_rate - self._command[1]
        return float(
            1.0
            + math.exp(-abs(forward) / 0.12)
            - 0.5 * abs(forward)
            + 0.6 * math.exp(-abs(yaw) / 0.25)
            - 0.2 * abs(yaw)
            - 0.3 * np.square(change).sum()
            - 0.02 * np.square(self._balancer.gyro[:2]).sum()
        )

    def _draw_command(self) -> None:
        rng = self.np_random
        self._next_command = self._tick + int(rng.integers(*COMMAND_TICKS))
        if rng.random() < STANDING_SHARE:
            self._command = (0.0, 0.0)
        else:  # a little beyond what the demo asks for
            forward, yaw = rng.uniform(-1.15, 1.15, 2) * (FORWARD_LIMIT, YAW_LIMIT)
            self._command = (float(forward), float(yaw))

    def _observe(self) -> npt.NDArray[np.float32]:
        reading = with_noise(self._balancer.read(), self._noise, self.np_random)
        return observe(reading, self._command, self._action).astype(np.float32)
