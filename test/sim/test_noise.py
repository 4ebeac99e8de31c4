"""Sensor noise: the stated standard deviations, unit quaternions, no other change."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(
    find_spec("mujoco") is None, reason="the simulated robot needs mujoco"
)


def test_noise_has_the_standard_deviations_it_says() -> None:
    from policy_runner.sim.balancer import Balancer
    from policy_runner.sim.handwritten_loop import observe
    from policy_runner.sim.sensors import Noise, with_noise

    balancer = Balancer()
    balancer.stand(pitch_rad=0.3, yaw=2.0)
    exact, rng = balancer.read(), np.random.default_rng(0)
    noisy = [with_noise(exact, Noise(), rng) for _ in range(4000)]
    assert np.std([r.gyro for r in noisy]) == pytest.approx(0.02, rel=0.05)
    assert np.std([r.wheel_velocity for r in noisy]) == pytest.approx(0.05, rel=0.05)
    lengths = [np.linalg.norm(r.orientation_xyzw) for r in noisy]
    assert lengths == pytest.approx(np.ones(4000))
    last = np.zeros(2)
    gravity = np.array([observe(r, (0.0, 0.0), last)[3:6] for r in noisy])
    # A rotation by sigma about the y axis changes gravity's x by sigma times its z.
    assert np.std(gravity[:, 0]) == pytest.approx(0.005 * np.cos(0.3), rel=0.05)
    assert gravity.mean(axis=0) == pytest.approx(balancer.projected_gravity, abs=1e-3)
    assert all(np.array_equal(r.wheel_position, exact.wheel_position) for r in noisy)
