"""The physics: signs, falls, pushes, delay, repeatability with a seed."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(
    find_spec("mujoco") is None, reason="the simulated robot needs mujoco"
)


@pytest.fixture
def balancer() -> Any:
    from policy_runner.sim.balancer import Balancer

    return Balancer()


def test_left_plus_right_minus_drives_forward(balancer: Any) -> None:
    balancer.advance((2.0, -2.0), 20)
    assert balancer.forward_velocity > 0.05
    assert balancer.wheel_velocity[0] > 0 > balancer.wheel_velocity[1]
    assert abs(balancer.yaw_rate) < 0.1
    assert balancer.base_velocity[0] == pytest.approx(balancer.forward_velocity, abs=0.01)


def test_equal_joint_velocities_turn_on_the_spot(balancer: Any) -> None:
    balancer.advance((-2.0, -2.0), 20)  # left wheel backward, right wheel forward
    assert balancer.yaw_rate > 0.2
    assert balancer.gyro[2] == pytest.approx(balancer.yaw_rate, abs=0.01)
    assert abs(balancer.forward_velocity) < 0.02


def test_wheels_roll_without_slip_at_their_radius(balancer: Any) -> None:
    from policy_runner.sim.balancer import TRACK_M, WHEEL_RADIUS_M

    balancer.advance((1.0, -2.0), 20)
    left, right = balancer.wheel_velocity
    # The joints measure against the body, which pitches at the same time.
    pitch_rate = balancer.gyro[1]
    left, right = left + pitch_rate, right - pitch_rate
    assert balancer.forward_velocity == pytest.approx(WHEEL_RADIUS_M * (left - right) / 2, abs=0.01)
    assert balancer.yaw_rate == pytest.approx(-WHEEL_RADIUS_M * (left + right) / TRACK_M, abs=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_falls_within_a_second_when_the_wheels_stand_still(balancer: Any, seed: int) -> None:
    balancer.reset(np.random.default_rng(seed))
    assert 0.03 <= balancer.tilt <= 0.08
    assert not balancer.fallen
    balancer.advance((0.0, 0.0), 500)
    assert balancer.fallen
    assert balancer.tilt > 0.8


def test_leaning_forward_shows_in_all_sensors(balancer: Any) -> None:
    balancer.stand(pitch_rad=0.1)
    assert balancer.tilt == pytest.approx(0.1)
    assert balancer.projected_gravity == pytest.approx([math.sin(0.1), 0.0, -math.cos(0.1)])
    assert balancer.orientation_xyzw == pytest.approx([0.0, math.sin(0.05), 0.0, math.cos(0.05)])
    balancer.advance((0.0, 0.0), 5)
    assert balancer.gyro[1] > 0  # and it continues to fall forward
    assert np.linalg.norm(balancer.linear_acceleration) == pytest.approx(9.81, rel=0.2)


def test_standing_with_a_yaw_keeps_pose_and_pitch(balancer: Any) -> None:
    balancer.stand(pitch_rad=0.1, x=1.0, y=-2.0, yaw=2.5)
    assert balancer.pose == pytest.approx((1.0, -2.0, 2.5))
    assert balancer.projected_gravity == pytest.approx([math.sin(0.1), 0.0, -math.cos(0.1)])


def test_a_push_is_force_times_time(balancer: Any) -> None:
    balancer.stand()
    balancer.push(15.0, 0.1, 0.0)
    balancer.advance((0.0, 0.0), 50)
    pushed = balancer.gyro[1]
    assert pushed > 0.3  # forward, since the wheels hold
    balancer.stand()
    balancer.push(15.0, 0.1, math.pi)
    balancer.advance((0.0, 0.0), 50)
    assert balancer.gyro[1] == pytest.approx(-pushed, rel=0.1)
    assert np.any(balancer.data.xfrc_applied)
    balancer.advance((0.0, 0.0), 1)
    assert not np.any(balancer.data.xfrc_applied)


def test_a_target_arrives_after_its_delay() -> None:
    from policy_runner.sim.balancer import Balancer

    balancer = Balancer(delay_s=0.02)
    balancer.advance((5.0, -5.0), 10)  # 20 ms
    assert abs(balancer.forward_velocity) < 1e-3
    balancer.advance((0.0, 0.0), 10)  # now the first target arrives, and holds for 20 ms
    assert balancer.forward_velocity > 0.1


def test_wrong_targets_are_refused(balancer: Any) -> None:
    with pytest.raises(ValueError, match="2 finite wheel velocity targets"):
        balancer.advance((math.nan, 0.0), 1)
    with pytest.raises(ValueError, match="2 finite wheel velocity targets"):
        balancer.advance((0.0,), 1)


def test_variation_changes_the_model_and_nominal_restores_it(balancer: Any) -> None:
    from policy_runner.sim.balancer import Balancer
    from policy_runner.sim.variation import NOMINAL, Variation

    nominal = Balancer()
    mass = float(nominal.model.body("base").mass[0])
    balancer.vary(Variation(body_mass=1.5, com_height=0.5, friction=0.5, servo_gain=2.0))
    assert float(balancer.model.body("base").mass[0]) == pytest.approx(1.5 * mass)
    assert balancer.model.actuator_gainprm[0, 0] == 2 * nominal.model.actuator_gainprm[0, 0]
    balancer.vary(replace(NOMINAL, body_mass=1.0))
    for name in ("body_mass", "body_inertia", "body_ipos", "geom_friction", "actuator_gainprm"):
        assert np.array_equal(getattr(balancer.model, name), getattr(nominal.model, name)), name


def test_variation_leaves_the_robot_where_it_is(balancer: Any) -> None:
    from policy_runner.sim.variation import Variation

    balancer.stand(pitch_rad=0.1, x=1.0, y=-2.0, yaw=2.5)
    balancer.vary(Variation(body_mass=1.5))
    assert balancer.pose == pytest.approx((1.0, -2.0, 2.5))
    assert balancer.tilt == pytest.approx(0.1)


def test_the_same_seed_gives_the_same_motion() -> None:
    from policy_runner.sim.balancer import Balancer

    ends = []
    for _ in range(2):
        balancer = Balancer()
        balancer.reset(np.random.default_rng(7))
        for i in range(50):
            balancer.advance((math.sin(i), -math.cos(i)), 5)
        ends.append(balancer.data.qpos.tobytes() + balancer.data.qvel.tobytes())
    assert ends[0] == ends[1]
