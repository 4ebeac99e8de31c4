"""Episodes of the shipped balancer: verdicts, repetition, sweeps and what-ifs that discriminate."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_runner.package_files import share_path

pytestmark = [
    pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed"),
    pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed"),
]

COMMANDS = {"vx": (-0.6, 0.6), "wz": (-1.0, 1.0)}


def subject(**keys: Any) -> Any:
    from policy_runner.sim.balancer import ROBOT_FILE
    from policy_runner.sim.evaluate.subject import Subject

    return Subject(Path(share_path("models", "balancer")), ROBOT_FILE, **keys)


def plan(episodes: int = 2, seconds: float = 3.0, **conditions: Any) -> Any:
    from policy_runner.sim.evaluate.plan import Conditions, Plan

    return Plan(episodes, seconds, 0, COMMANDS, Conditions(**conditions))


def evaluate(given: Any, sweeps: tuple[str, ...] = (), what_if: bool = False) -> Any:
    from policy_runner.sim.evaluate.evaluation import Evaluator
    from policy_runner.sim.evaluate.sweep import read_sweep

    rows = [read_sweep(text) for text in sweeps]
    return Evaluator(subject(), given, rows, what_if).run()


def test_the_shipped_policy_balances_and_tracks() -> None:
    found = evaluate(plan(2, 12.0, push=(13.0, 17.0)))
    figures = found.figures
    assert figures["falls"] == figures["safe_stops"] == 0
    assert figures["fall_share_high"] == pytest.approx(0.6576, abs=1e-4)
    assert 0.01 < figures["vx_rmse"] < 0.08
    assert 0.005 < figures["wz_rmse"] < 0.08
    assert figures["vy_rmse"] is None
    assert figures["foot_slip"] is None
    assert figures["first_fall_s"] is None
    assert figures["power"] > 0.1
    paths = [one.distance for one in found.episodes]
    assert all(0.05 < e.progress < path for e, path in zip(found.episodes, paths))
    assert figures["progress"] == pytest.approx(sum(e.progress for e in found.episodes) / 24.0)
    assert 0.0 < figures["most_tilt"] < 0.4


def test_an_episode_does_not_depend_on_those_before_it() -> None:
    from policy_runner.sim.evaluate.episode import EpisodeRunner, Job
    from policy_runner.sim.evaluate.subject import NO_CHANGE

    heavy, nominal = plan(mass=(1.3, 1.3), imu_noise=(0.05, 0.05)), plan()
    runner = EpisodeRunner(subject())
    first = runner.run(Job(NO_CHANGE, nominal, 1)).episode
    runner.run(Job(NO_CHANGE, heavy, 0))
    assert runner.run(Job(NO_CHANGE, nominal, 1)).episode == first
    assert runner.run(Job(NO_CHANGE, nominal, 0)).episode != first
    runner.close()


def test_the_delay_margin_is_between_the_trained_delay_and_its_double() -> None:
    found = evaluate(plan(4, 4.0), ("command_delay=0.04:0.12:0.04",)).sweeps[0]
    falls = [one["falls"] for one in found.figures]
    # Trained with up to 40 ms.
    assert falls[0] == 0
    assert falls[-1] == 4
    assert found.margin.high == 0.04
    assert found.margin.falls_above == 0.08


def test_every_condition_changes_the_episode() -> None:
    from policy_runner.sim.evaluate.episode import EpisodeRunner, Job
    from policy_runner.sim.evaluate.subject import NO_CHANGE

    spans: dict[str, tuple[float, float]] = {
        "command_delay": (0.01, 0.01),
        "mass": (1.1, 1.1),
        "friction": (0.5, 0.5),
        "imu_noise": (0.02, 0.02),
        "packet_loss": (0.2, 0.2),
        "push": (15.0, 15.0),
    }
    runner = EpisodeRunner(subject())
    long = runner.run(Job(NO_CHANGE, plan(seconds=8.5), 0)).episode
    for name, span in spans.items():
        given = plan(seconds=8.5 if name == "push" else 0.6, **{name: span})
        nominal = plan(seconds=given.seconds)
        plain = long if name == "push" else runner.run(Job(NO_CHANGE, nominal, 0)).episode
        assert runner.run(Job(NO_CHANGE, given, 0)).episode != plain, name
    runner.close()


def test_commands_and_pushes_are_the_same_for_every_value_of_a_sweep() -> None:
    from policy_runner.sim.evaluate.disturbances import Disturbances
    from policy_runner.sim.evaluate.subject import bind

    loop = bind(subject())
    drawn = []
    for conditions in ({}, {"mass": (1.2, 1.2), "imu_noise": (0.1, 0.1)}):
        acting = Disturbances(loop, plan(**conditions))
        acting.begin(3)
        acting.before_tick()
        drawn.append(loop.inputs.command.copy())
    loop.close()
    assert drawn[0].any()
    assert np.array_equal(*drawn)


def test_faults_of_integration_are_noticed_or_named_as_not_noticed() -> None:
    found = {one.text: one for one in evaluate(plan(2, 2.0), (), True).what_ifs}
    for text in (
        "left_wheel_joint and right_wheel_joint exchanged",
        "sign of left_wheel_joint reversed",
        "obs: gyro and gravity exchanged",
        "obs: not normalized",
        "imu turned by 180 degrees about x",
        "commands 200 ms later",
    ):
        one = found[text]
        assert (one.outcome, one.noticed) == ("falls", 2), text
        assert 0.1 < one.median_s <= one.slowest_s < 2.0
    late = found["commands 20 ms later"]
    assert (late.outcome, late.noticed, late.median_s) == ("not noticed", 0, None)


def test_the_robots_stop_is_a_verdict_of_its_own(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(
        "policy_runner: {ros__parameters: {safety.max_tilt: 0.3, safety.recover: armed}}\n", "utf-8"
    )
    from policy_runner.sim.evaluate.episode import EpisodeRunner, Job
    from policy_runner.sim.evaluate.subject import NO_CHANGE

    runner = EpisodeRunner(subject(params=params))
    episode = runner.run(Job(NO_CHANGE, plan(command_delay=(0.2, 0.2)), 0)).episode
    runner.close()
    assert episode.stopped_s is not None
    assert episode.stop_reason
    assert episode.fell_s is not None
    assert episode.stopped_s < episode.fell_s


def test_an_episode_is_the_plain_loop_with_the_same_commands_bit_by_bit() -> None:
    from policy_runner.sim.evaluate.episode import run_episode
    from policy_runner.sim.evaluate.subject import bind

    loop = bind(subject())
    seen: list[Any] = []
    starts: list[Any] = []
    run_episode(
        loop,
        plan(seconds=20.0),
        4,
        lambda one, _step: seen.append((one.inputs.command.copy(), one.plant.data.qpos.tobytes())),
        lambda: starts.append((loop.plant.data.qpos.copy(), loop.plant.data.qvel.copy())),
    )
    loop.close()
    assert len(seen) == 2000
    assert len({command.tobytes() for command, _ in seen}) >= 4

    import mujoco

    loop = bind(subject())
    loop.begin()
    data = loop.plant.data
    data.qpos[:], data.qvel[:] = starts[0]
    mujoco.mj_forward(loop.plant.model, data)
    for tick, (command, state) in enumerate(seen):
        loop.inputs.command[:] = command
        loop.tick()
        assert data.qpos.tobytes() == state, f"tick {tick}"
    loop.close()


def test_base_motion_is_that_of_the_demo() -> None:
    from policy_runner.sim.balancer import Balancer
    from policy_runner.sim.evaluate.scoring import base_motion

    robot = Balancer()
    robot.stand(pitch_rad=0.2, pitch_rate=0.3, yaw=2.0)
    robot.advance((4.0, -6.0), 40)
    tilt, along, left, turning = base_motion(robot.plant)
    assert tilt == pytest.approx(robot.tilt)
    assert along == pytest.approx(robot.forward_velocity)
    assert turning == pytest.approx(robot.yaw_rate)
    _, _, yaw = robot.pose
    world = robot.data.qvel[:2]
    assert left == pytest.approx(-np.sin(yaw) * world[0] + np.cos(yaw) * world[1])
