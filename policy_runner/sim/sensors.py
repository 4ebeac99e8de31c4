"""Readings of the simulated robot's sensors, and their noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from policy_runner.core.model import Array


@dataclass(frozen=True)
class Reading:
    """The readings of all sensors at one time."""

    gyro: Array  # (3,) rad/s, base frame
    orientation_xyzw: Array  # (4,) unit quaternion, base to world
    linear_acceleration: Array  # (3,) m/s^2, base frame, specific force (+g upwards at rest)
    wheel_position: Array  # (2,) rad
    wheel_velocity: Array  # (2,) rad/s


@dataclass(frozen=True)
class Noise:
    """Standard deviations of white noise, per reading (100 Hz)."""

    gyro: float = 0.02  # rad/s
    orientation: float = 0.005  # rad, about each base axis
    linear_acceleration: float = 0.1  # m/s^2
    wheel_velocity: float = 0.05  # rad/s


def with_noise(reading: Reading, noise: Noise, rng: np.random.Generator) -> Reading:
    """Return the reading with noise drawn from `rng`; the wheels' positions stay exact."""
    half_angles = rng.normal(0.0, noise.orientation / 2, 3)
    return replace(
        reading,
        gyro=reading.gyro + rng.normal(0.0, noise.gyro, 3),
        orientation_xyzw=turned(reading.orientation_xyzw, half_angles),
        linear_acceleration=reading.linear_acceleration
        + rng.normal(0.0, noise.linear_acceleration, 3),
        wheel_velocity=reading.wheel_velocity + rng.normal(0.0, noise.wheel_velocity, 2),
    )


def turned(orientation: Array, half_angles: Array) -> Array:
    """Turn a quaternion x, y, z, w (4,) by a small rotation about the body's axes.

    Args:
        orientation: unit quaternion.
        half_angles: half the angle about x, y and z [rad], small.
    """
    x, y, z, w = orientation
    a, b, c = half_angles
    # q * (1, a, b, c); the result is normalized below.
    product = np.array(
        [
            x + w * a + y * c - z * b,
            y + w * b + z * a - x * c,
            z + w * c + x * b - y * a,
            w - x * a - y * b - z * c,
        ]
    )
    return np.asarray(product / np.linalg.norm(product), dtype=np.float64)
