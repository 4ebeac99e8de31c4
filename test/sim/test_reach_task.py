"""The task of the demo's arm: where its balls are, and what counts as reached and as a stop."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sim_rig import plant

pytestmark = pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed")

ROBOT = Path(__file__).resolve().parents[2] / "models" / "reach" / "robot.yaml"
DT, STEPS = 0.01, 5


def begin(seed: int = 0) -> tuple[Any, Any]:
    from policy_runner.sim.plant.plant import Plant
    from policy_runner.sim.reach_task import ReachTask
    from policy_runner.sim.robot_file.robot_reader import read_robot

    arm = Plant(read_robot(ROBOT))
    arm.reset(seed)
    return arm, ReachTask(arm, seed, DT)


def ball(arm: Any) -> Any:
    return np.array(arm.data.mocap_pos[0, :2])


def put(arm: Any, where: Any) -> None:
    arm.data.mocap_pos[0, :2] = where


def fingertip(arm: Any) -> Any:
    return np.array(arm.data.site("fingertip").xpos[:2])


def play(arm: Any, task: Any, seconds: float, command: Any = None) -> None:
    for _ in range(round(seconds / DT)):
        if command is not None:
            arm.command("position", arm.joint_names, command)
        arm.advance(STEPS)
        given = None if command is None else dict(zip(arm.joint_names, command))
        task.account(given)


def test_balls_are_where_those_of_the_training_were_and_repeat_with_the_seed() -> None:
    places = []
    for seed in (5, 5, 6):
        arm, task = begin(seed)
        found = []
        for _ in range(4):
            found.append(ball(arm).tolist())
            assert 0.16 <= math.hypot(*found[-1]) <= 0.39
            assert abs(math.atan2(found[-1][1], found[-1][0])) <= 1.9
            assert np.linalg.norm(fingertip(arm) - found[-1]) >= 0.1
            play(arm, task, 4.0)
        places.append(found)
    assert places[0] == places[1]
    assert places[0] != places[2]
    assert len({tuple(place) for place in places[0]}) == 4


def test_a_ball_is_reached_if_the_fingertip_is_near_for_the_last_half_second() -> None:
    arm, task = begin()
    play(arm, task, 4.0)  # the arm stands, away from the ball
    assert task.score()["reached_share"] == 0.0
    assert task.score()["near_after_s"] is None
    there = fingertip(arm) + [0.015, 0.0]
    play(arm, task, 3.4)
    put(arm, there)
    play(arm, task, 0.6)
    assert task.reached == [False, True]
    assert task.seconds == [pytest.approx(3.41)]
    play(arm, task, 3.6)
    put(arm, there)  # too late: near for 0.4 s
    play(arm, task, 0.4)
    put(arm, there)
    play(arm, task, 3.7)
    put(arm, fingertip(arm) + [0.0, 0.025])  # it was near, and is not at the end
    play(arm, task, 0.3)
    assert task.reached == [False, True, False, False]
    assert task.score()["reached_share"] == 0.25


def test_a_stop_on_the_way_counts_and_one_at_the_ball_does_not() -> None:
    arm, task = begin()
    start = np.array(arm.read.joint_positions)
    play(arm, task, 1.0, start + [0.2, 0.0])
    play(arm, task, 1.0, start + [0.4, 0.0])
    assert task.stops == 2
    put(arm, fingertip(arm))
    play(arm, task, 0.1, start + [0.42, 0.0])
    play(arm, task, 1.0, start + [0.42, 0.0])
    assert task.stops == 2


def test_jerks_are_third_derivatives() -> None:
    """A command q = j t^3 / 6 has the jerk j; the joints follow it after a moment."""
    jerk = 2.0
    arm, task = begin()
    start = np.array(arm.read.joint_positions)
    for k in range(100):
        move = jerk * (k * DT) ** 3 / 6
        command = start + [move, 0.0]
        arm.command("position", arm.joint_names, command)
        arm.advance(STEPS)
        task.account(dict(zip(arm.joint_names, command)))
    # Root mean square over two joints, one of which is not commanded to move.
    assert task.score()["command_jerk"] == pytest.approx(jerk / math.sqrt(2), rel=1e-6)
    assert task.score()["joint_jerk"] == pytest.approx(jerk / math.sqrt(2), rel=0.3)


def test_another_robot_is_refused(tmp_path: Path) -> None:
    from policy_runner.core.errors import Refusal
    from policy_runner.sim.reach_task import ReachTask

    with pytest.raises(Refusal, match="expected a site fingertip, a mocap body ball and two"):
        ReachTask(plant(tmp_path, "arm.xml"), 0, DT)


def test_a_model_with_a_floor_of_its_own_keeps_its_light(tmp_path: Path) -> None:
    """A policy that sees knows the brightness of its training."""
    arm, _ = begin()
    assert arm.model.nlight == 0
    ball_only = (
        "<mujoco><worldbody><body><freejoint/><geom size='0.1'/></body></worldbody></mujoco>"
    )
    assert plant(tmp_path, "ball.xml", ball_only).model.nlight == 1
