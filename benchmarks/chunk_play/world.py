"""The simulated world of benchmarks/chunks.py: two joints, a policy that returns chunks, a lane.

Time is counted in steps of 1/900 s, so that 30, 50, 90, 100 and 150 Hz are whole numbers of steps.
Nothing depends on the machine: the same seed gives the same numbers.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

from policy_runner.core.chunks.denoising import Guidance, denoise

STEPS_PER_S = 900
PERIOD = 9  # steps of the control period, 100 Hz
LAG_S = 0.05  # of the servo: q' = (command - q) / LAG_S
TIME_S = 12.0
SPREAD = 0.002  # of the flow's actions around a mode [rad]
MODES_RAD = 0.06  # how far the two modes of P3 lead away
Array = np.ndarray


def nanoseconds(step: int) -> int:
    """Time of a step [ns]."""
    return round(step * 1e9 / STEPS_PER_S)


@dataclass(frozen=True)
class Case:
    """One run.

    Attributes:
        task: P1 open-loop trajectory, P2 feedback to a moving target, P3 the same with two modes.
        horizon: H, actions of a chunk.
        hz: actions per second.
        latency: L, duration of an inference [control periods].
        seed: of the target, and of jitter.
        jitter: the longest inference, as a multiple of L.
        first: duration of the first inference [action steps]; 0: as the others.
        spike_s: duration of the inference that starts at 6 s or after; 0: as the others.
        offset: how far the robot stands from the first target [rad].
    """

    task: str = "P2"
    horizon: int = 50
    hz: int = 30
    latency: int = 10
    seed: int = 0
    jitter: float = 1.0
    first: int = 0
    spike_s: float = 0.0
    offset: float = 0.0

    @property
    def dt(self) -> int:
        """Steps between two actions."""
        return STEPS_PER_S // self.hz

    def but(self, **changes: object) -> Case:
        """The same with other values."""
        return replace(self, **changes)  # type: ignore[arg-type]


@functools.lru_cache(maxsize=8)
def _wander(seed: int, count: int) -> Array:
    """What no policy can foresee: a smooth random motion, [count, 2] [rad]."""
    noise = np.random.default_rng([seed, 1]).normal(size=(count, 2)) * np.sqrt(STEPS_PER_S)
    h = 1.0 / STEPS_PER_S
    force, speed, away = np.zeros(2), np.zeros(2), np.zeros(2)
    out = np.empty((count, 2))
    for k in range(count):
        force = force + (8.0 * noise[k] - force / 0.1) * h
        speed = speed + (force - speed / 0.3 - away * 4.0) * h
        away = away + speed * h
        out[k] = away
    return out


class World:
    """The target, the policy, and the durations of its inferences."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.steps = int(TIME_S * STEPS_PER_S)
        self._chunk_times = np.arange(case.horizon)[:, None] / case.hz
        count = self.steps + case.horizon * case.dt + STEPS_PER_S
        generator = np.random.default_rng(case.seed)
        t = np.arange(count)[:, None] / STEPS_PER_S
        phases = generator.uniform(0.0, 2 * np.pi, (3, 2))
        self.position = np.zeros((count, 2))
        for (hz, amplitude), phase in zip(
            ((0.13, 0.3), (0.31, 0.12), (0.47, 0.05)), phases, strict=True
        ):
            self.position += amplitude * np.sin(2 * np.pi * hz * t + phase)
        if case.task != "P1":
            self.position = self.position + _wander(case.seed, count)
        self.speed = np.gradient(self.position, 1.0 / STEPS_PER_S, axis=0)
        self.start = self.position[0] + case.offset
        self._durations = np.random.default_rng(case.seed + 1000)
        self._spiked = False
        self._inferences = 0

    def duration(self, step: int) -> int:
        """Duration of an inference that starts now [steps]."""
        case = self.case
        self._inferences += 1
        if self._inferences == 1 and case.first:
            return case.first * case.dt
        if case.spike_s and not self._spiked and step >= 6 * STEPS_PER_S:
            self._spiked = True
            return int(case.spike_s * STEPS_PER_S)
        factor = self._durations.uniform(1.0, case.jitter) if case.jitter > 1.0 else 1.0
        return int(case.latency * PERIOD * factor)

    def mean_chunk(self, step: int, q: Array) -> Array:
        """The plan from what is seen at a step, without modes, [H, 2]."""
        case = self.case
        if case.task == "P1":
            at = step + np.arange(case.horizon) * case.dt
            return self.position[at] + LAG_S * self.speed[at]
        times = self._chunk_times
        target, speed = self.position[step], self.speed[step]
        decay = np.exp(-times / 0.5)
        plan = target + speed * 0.5 * (1.0 - decay)
        # It leads by the servo's lag, and corrects a part of the error that it sees.
        wrong = q - target
        return plan + LAG_S * speed * decay - 0.2 * wrong * np.exp(-times / 0.2)

    def chunk(self, step: int, q: Array, guidance: Guidance | None = None) -> Array:
        """The policy: a chunk [H, 2] from the observation of this step.

        P3, and every guided task, is a flow of ten steps from seeded noise.
        """
        mean = self.mean_chunk(step, q)
        if self.case.task != "P3" and guidance is None:
            return mean
        away = MODES_RAD * (1.0 - np.exp(-self._chunk_times / 0.25))
        modes = [mean + away, mean - away] if self.case.task == "P3" else [mean]
        noise = np.random.default_rng([self.case.seed, step]).normal(size=mean.shape)

        def field(x: Array, time: float | Array) -> Array:
            tau = float(1.0 - np.max(time))
            variance = (1.0 - tau) ** 2 + (tau * SPREAD) ** 2
            distance = np.array([np.sum((x - tau * mode) ** 2) for mode in modes])
            weights = np.exp(-(distance - distance.min()) / (2.0 * variance))
            weights /= weights.sum()
            reached = np.zeros_like(x)
            for weight, mode in zip(weights, modes, strict=True):
                gain = tau * SPREAD**2 / variance
                reached += weight * (mode + gain * (x - tau * mode))
            velocity = (reached - x) / max(1.0 - tau, 1e-9)
            return -velocity

        return denoise(field, noise, 10, "noise_at_1", guidance)
