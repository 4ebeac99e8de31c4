"""The balancer's observation and control loop, written by hand, as a reference for the runner.

Training uses this observation. The tests drive the shipped model with this loop and a bare
inference session. The runner builds the same observation from `policy.yaml`; both must agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from policy_runner.core.model import Array
from policy_runner.sim.balancer import Balancer
from policy_runner.sim.scenario import RATE_HZ, Scenario, Score
from policy_runner.sim.sensors import Noise, Reading, with_noise
from policy_runner.sim.variation import NOMINAL, Variation

OBSERVATION_SIZE = 12
MAX_WHEEL_SPEED = 15.0  # rad/s at an action of 1
EPSILON = 1e-8  # VecNormalize's defaults
CLIP = 10.0

Policy = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


def observe(reading: Reading, command: tuple[float, float], last_action: Array) -> Array:
    """Build the observation (12,) float64.

    Its elements: gyro 3, projected gravity 3, wheel velocities 2, command 2, last action 2.

    Args:
        reading: the robot's sensors.
        command: (forward [m/s], yaw rate [rad/s]).
        last_action: (2,), clipped to -1..1.
    """
    x, y, z, w = reading.orientation_xyzw
    # R^T (0, 0, -1): minus the third row of the rotation matrix, base to world.
    gravity = (-2 * (x * z - w * y), -2 * (y * z + w * x), -1 + 2 * (x * x + y * y))
    return np.concatenate((reading.gyro, gravity, reading.wheel_velocity, command, last_action))


def normalize(observation: Array, mean: Array, var: Array) -> npt.NDArray[np.float32]:
    """Return clip((x - mean) / sqrt(var + eps), -10, 10), as SB3's VecNormalize, (1, 12) float32.

    Args:
        observation: x, (12,).
        mean: (12,).
        var: variance, (12,).
    """
    scaled = (observation - mean) / np.sqrt(var + EPSILON)
    return np.clip(scaled, -CLIP, CLIP).astype(np.float32)[None]


@dataclass(frozen=True)
class Sabotage:
    """Deliberate mistakes for tests; the defaults make none."""

    plain_statistics: bool = False  # mean 0, variance 1
    wheels_swapped: bool = False  # both the measured velocities and the targets
    gyro_and_gravity_swapped: bool = False
    zero_output: bool = False


def run(
    policy: Policy,
    mean: Array,
    var: Array,
    seed: int,
    duration_s: float,
    delay_s: float = 0.0,
    noise: Noise | None = None,
    variation: Variation = NOMINAL,
    sabotage: Sabotage = Sabotage(),
    every: int = 1,
) -> Score:
    """Drive the scenario in lockstep: read, decide, act, 100 times per simulated second.

    Args:
        policy: maps a normalized observation (1, 12) float32 to a raw action (1, 2).
        mean: of the observation, (12,).
        var: variance of the observation, (12,).
        seed: of the scenario and the noise.
        duration_s: simulated time [s].
        delay_s: delay of a target until it reaches the servos [s].
        noise: None: exact sensors.
        variation: factors on the nominal robot and floor.
        sabotage: deliberate mistakes.
        every: run the policy only every so many ticks; its action holds in between.
    """
    if sabotage.plain_statistics:
        mean, var = np.zeros_like(mean), np.ones_like(var)
    scenario = Scenario(Balancer(variation, delay_s), seed)
    rng = np.random.default_rng(seed)
    action = np.zeros(2)
    for tick in range(round(duration_s * RATE_HZ)):
        if tick % every == 0:
            reading = scenario.balancer.read()
            if noise is not None:
                reading = with_noise(reading, noise, rng)
            observation = observe(reading, scenario.command, action)
            if sabotage.wheels_swapped:
                observation[6:8] = observation[[7, 6]]
            if sabotage.gyro_and_gravity_swapped:
                observation[:6] = observation[[3, 4, 5, 0, 1, 2]]
            raw = policy(normalize(observation, mean, var))[0].astype(np.float64)
            action = np.zeros(2) if sabotage.zero_output else np.clip(raw, -1.0, 1.0)
        target = action * MAX_WHEEL_SPEED
        scenario.tick(target[::-1] if sabotage.wheels_swapped else target)
    return scenario.score()
