"""The scenario's schedule and score on a stand-in robot, against numbers computed by hand."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from policy_runner.core.errors import Refusal

pytestmark = pytest.mark.skipif(
    find_spec("mujoco") is None, reason="the simulated robot needs mujoco"
)


class Puppet:
    """A stand-in for the robot, with velocities and falls set by the test."""

    timestep_s = 0.002

    def __init__(self) -> None:
        self.forward_velocity = 0.0
        self.yaw_rate = 0.0
        self.fallen = False
        self.stood_up = 0
        self.pushes: list[tuple[float, float, float]] = []
        self.targets: list[list[float]] = []

    def reset(self, rng: np.random.Generator) -> None:
        self.fallen = False

    def stand_up(self, rng: np.random.Generator) -> None:
        self.fallen = False
        self.stood_up += 1

    def push(self, force_n: float, duration_s: float, direction_rad: float) -> None:
        self.pushes.append((force_n, duration_s, direction_rad))

    def advance(self, target: Any, steps: int) -> None:
        assert steps == 5
        self.targets.append([float(t) for t in target])


def scenario(puppet: Any, seed: int = 0, **options: Any) -> Any:
    from policy_runner.sim.scenario import Scenario

    return Scenario(puppet, seed, **options)


def test_error_is_counted_from_a_second_and_a_half_after_a_change_of_command() -> None:
    puppet = Puppet()
    run = scenario(puppet, pushes=False)
    first = run.command
    errors = []
    changed_at = 0
    for _ in range(1000):
        before = run.command
        puppet.forward_velocity = before[0] + 0.03
        puppet.yaw_rate = before[1] - 0.04
        run.tick((0.0, 0.0))
        if run.ticks - changed_at >= 150:
            errors.append(0.03)
        if run.command != before:
            changed_at = run.ticks
            # Even large errors within the settling time must not be counted.
    score = run.score()
    assert run.command != first
    assert score.counted_s == pytest.approx(len(errors) * 0.01)
    assert score.velocity_rmse_forward == pytest.approx(0.03)
    assert score.velocity_rmse_yaw == pytest.approx(0.04)


def test_error_right_after_a_push_or_a_change_is_not_counted() -> None:
    puppet = Puppet()
    run = scenario(puppet, seed=3)
    last_event = 0
    for _ in range(3000):
        pushes, command = len(puppet.pushes), run.command
        late = run.ticks + 1 - last_event >= 150
        # No error where it counts, a large error where it must not count.
        puppet.forward_velocity = command[0] if late else 9.0
        puppet.yaw_rate = command[1]
        run.tick((0.0, 0.0))
        if len(puppet.pushes) > pushes:
            last_event = run.ticks + 10  # its end
        elif run.command != command:
            last_event = max(last_event, run.ticks)
    assert len(puppet.pushes) >= 3
    assert run.score().velocity_rmse_forward == 0.0
    assert run.score().counted_s > 5.0


def test_the_error_is_a_root_of_a_mean_of_squares() -> None:
    puppet = Puppet()
    run = scenario(puppet, pushes=False)
    for i in range(290):  # below the shortest hold of a command
        puppet.forward_velocity = run.command[0] + (0.3 if i % 2 else 0.1)
        puppet.yaw_rate = run.command[1]
        run.tick((0.0, 0.0))
    assert run.score().velocity_rmse_forward == pytest.approx(
        math.sqrt((71 * 0.3**2 + 70 * 0.1**2) / 141), rel=1e-6
    )


def test_a_fall_is_counted_once_the_motors_go_off_and_it_stands_up_after_a_second() -> None:
    puppet = Puppet()
    run = scenario(puppet, pushes=False)
    for _ in range(49):
        run.tick((1.0, -1.0))
    puppet.fallen = True
    run.tick((1.0, -1.0))
    assert (run.falls, run.first_fall_s, run.lying, run.upright_s) == (1, 0.5, True, 0.0)
    for _ in range(99):
        run.tick((1.0, -1.0))
        assert puppet.targets[-1] == [0.0, 0.0]
    assert run.falls == 1
    run.tick((1.0, -1.0))
    assert puppet.stood_up == 1
    assert not run.lying
    for _ in range(50):
        run.tick((1.0, -1.0))
    assert puppet.targets[-1] == [1.0, -1.0]
    assert run.upright_s == pytest.approx(0.5)
    score = run.score()
    assert score.simulated_s == 2.0
    assert score.upright_share == pytest.approx((49 + 50) / 200)
    assert score.counted_s == 0.0
    assert score.velocity_rmse_forward is None


def test_without_commands_the_motors_stop_after_the_watchdogs_time() -> None:
    puppet = Puppet()
    run = scenario(puppet)
    run.tick((3.0, -3.0))
    for _ in range(30):
        run.tick(None)
    moving = [target != [0.0, 0.0] for target in puppet.targets]
    assert moving == [True] * 20 + [False] * 11
    assert run.score().commands == 1


def test_seeds_decide_and_pushes_do_not_change_the_commands() -> None:
    def commands(seed: int, pushes: bool) -> list[tuple[float, float]]:
        run = scenario(Puppet(), seed=seed, pushes=pushes)
        seen = []
        for _ in range(3000):
            run.tick((0.0, 0.0))
            seen.append(run.command)
        return seen

    assert commands(1, True) == commands(1, False)
    assert commands(1, True) != commands(2, True)
    drawn = np.array(sorted(set(commands(1, True))))
    assert 5 <= len(drawn) <= 11  # held for 3 to 6 s
    assert np.all(np.abs(drawn) <= (0.6, 1.0))


def test_pushes_are_as_strong_as_promised() -> None:
    puppet = Puppet()
    run = scenario(puppet)
    for _ in range(6000):
        run.tick((0.0, 0.0))
    assert 7 <= len(puppet.pushes) <= 15
    assert all(13.0 <= force <= 17.0 and time == 0.1 for force, time, _ in puppet.pushes)


def test_without_own_commands_nothing_is_compared() -> None:
    run = scenario(Puppet(), commands=False)
    for _ in range(500):
        run.tick((0.0, 0.0))
    assert run.command == (0.0, 0.0)
    assert run.score().as_json()["velocity_rmse"] == {"forward": None, "yaw": None}


def test_a_rate_must_divide_the_physics() -> None:
    with pytest.raises(Refusal, match=r"rate: physics.timestep: expected a divisor of 0.00333"):
        scenario(Puppet(), rate_hz=300)
