"""Prefix weights, guidance and the denoising loop, to the numbers of LeRobot and of the papers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from policy_runner.core.chunks.denoising import (
    Guidance,
    Noise,
    TrainedPrefix,
    denoise,
    guidance_gain,
)
from policy_runner.core.chunks.prefix import leftover, prefix_weights
from policy_runner.core.model import Array

GENERATOR = np.random.default_rng(7)
MIX = GENERATOR.normal(size=(3, 3))
H, A = 8, 3


def field(x: Any, t: Any) -> Any:
    """A toy velocity field that is not linear; t per action or one number."""
    time = np.asarray(t, dtype=x.dtype).reshape(-1, 1) if np.ndim(t) else t
    return (np.tanh(x @ MIX.astype(x.dtype)) + x * time).astype(x.dtype)


def lerobots(x: Array, steps: int, y: Array, weights: Array, most: float) -> Array:
    """LeRobot's guided sampling: t = 1 - tau runs 1 -> 0, e has no Jacobian (policies/rtc)."""
    dt, t = -1.0 / steps, 1.0
    for _ in range(steps):
        tau = 1.0 - t
        v = field(x, t)
        x1 = x - t * v
        error = (y - x1) * weights[:, None]
        square = (1 - tau) ** 2 / ((1 - tau) ** 2 + tau**2)
        gain = np.inf if tau <= 0 else (1 - tau) / tau / square
        v = v - min(gain, most) * error
        x = x + dt * v
        t += dt
    return x


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("zeros", [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("ones", [1, 1, 1, 1, 1, 1, 0, 0, 0, 0]),
        ("linear", [1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0, 0]),
        ("exp", [1, 1, 0.5706, 0.2871, 0.1145, 0.0258, 0, 0, 0, 0]),
    ],
)
def test_prefix_weights(schedule: Any, expected: list[float]) -> None:
    np.testing.assert_allclose(prefix_weights(schedule, 2, 6, 10), expected, atol=5e-5)


@pytest.mark.parametrize("schedule", ["zeros", "ones", "linear", "exp"])
def test_weights_are_one_in_the_prefix_and_fall(schedule: Any) -> None:
    for start in range(6):
        for end in range(12):
            weights = prefix_weights(schedule, start, end, 10)
            assert np.all(weights[: min(start, end)] == 1.0)
            assert np.all(weights[end:] == 0.0)
            assert np.all(np.diff(weights) <= 0.0)


def test_guidance_gains() -> None:
    found = [guidance_gain(k / 10, 10.0) for k in range(1, 10)]
    expected = [9.111, 4.25, 2.762, 2.167, 2.0, 2.167, 2.762, 4.25, 9.111]
    np.testing.assert_allclose(found, expected, atol=5e-4)
    assert guidance_gain(0.0, 10.0) == 10.0
    assert guidance_gain(0.05, 5.0) == 5.0


@pytest.mark.parametrize(("kind", "tolerance"), [(np.float64, 1e-6), (np.float32, 1e-5)])
@pytest.mark.parametrize("schedule", ["zeros", "ones", "linear", "exp"])
def test_guided_sampling_is_lerobots(schedule: Any, kind: Any, tolerance: float) -> None:
    noise = GENERATOR.normal(size=(H, A))
    previous = GENERATOR.normal(size=(6, A))
    padded = np.vstack([previous, np.zeros((2, A))])
    weights = prefix_weights(schedule, 2, 5, H)
    expected = lerobots(noise, 10, padded, weights, 10.0)
    prefix = Guidance(previous, 2, 5, schedule, 10.0)
    made = denoise(field, noise.astype(kind), 10, "noise_at_1", prefix)
    assert made.dtype == kind
    bound = tolerance * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(made, expected, rtol=0, atol=bound)


def test_both_conventions_are_the_same_flow() -> None:
    noise = GENERATOR.normal(size=(H, A))
    prefix = Guidance(GENERATOR.normal(size=(H, A)), 2, 5)
    one = denoise(field, noise, 5, "noise_at_1", prefix)

    def other(x: Any, tau: Any) -> Any:
        return -field(x, 1.0 - tau)

    np.testing.assert_allclose(denoise(other, noise, 5, "noise_at_0", prefix), one, atol=1e-12)


def test_guidance_pulls_the_prefix_and_never_beyond_the_leftover() -> None:
    noise = GENERATOR.normal(size=(H, A))
    free = denoise(field, noise, 10)
    previous = free[:4] + 0.5
    pulled = denoise(field, noise, 10, "noise_at_1", Guidance(previous, 2, H, "ones"))
    near = np.abs(pulled[:2] - previous[:2]).max()
    assert near < 0.2 < np.abs(free[:2] - previous[:2]).max()
    # A leftover that is shorter than the prefix is not padded with zeros as if committed.
    short = Guidance(previous[:1], 3, 6)
    _, weights = short.padded(noise)
    assert weights[:, 0].tolist() == [1.0, 0, 0, 0, 0, 0, 0, 0]


def test_a_trained_prefix_stays_and_its_time_is_the_action_s() -> None:
    noise = GENERATOR.normal(size=(H, A))
    previous = GENERATOR.normal(size=(5, A))
    times = []

    def watched(x: Any, t: Any) -> Any:
        np.testing.assert_array_equal(x[:3], previous[:3])
        times.append(np.array(t))
        return field(x, t)

    made = denoise(watched, noise, 4, "noise_at_1", TrainedPrefix(previous, 3))
    np.testing.assert_array_equal(made[:3], previous[:3])
    for k, time in enumerate(times):
        assert time.tolist() == [0.0] * 3 + [1.0 - k / 4] * 5
    times.clear()
    denoise(watched, noise, 2, "noise_at_0", TrainedPrefix(previous, 3))
    assert times[1].tolist() == [1.0] * 3 + [0.5] * 5


def test_noise_has_a_seed_and_starts_over() -> None:
    one, same, other = Noise(3, (2, 4)), Noise(3, (2, 4)), Noise(4, (2, 4))
    first, second = one.next(), one.next()
    assert first.dtype == np.float32
    assert not np.array_equal(first, second)
    assert np.array_equal(first, same.next())
    assert not np.array_equal(first, other.next())
    one.reset()
    assert np.array_equal(first, one.next())


def test_the_leftover_begins_at_the_observation_and_is_not_padded() -> None:
    rows = np.arange(6.0)[:, None]
    assert leftover(rows, 2.0)[:, 0].tolist() == [2, 3, 4, 5]
    assert leftover(rows, 1.25)[:, 0].tolist() == [1.25, 2.25, 3.25, 4.25]
    assert leftover(rows, 5.0)[:, 0].tolist() == [5]
    assert leftover(rows, 5.5).shape == (0, 1)
    assert leftover(rows, 9.0).shape == (0, 1)
