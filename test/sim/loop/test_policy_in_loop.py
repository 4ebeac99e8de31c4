"""A policy drives a plant: floats equal to a loop by hand, limits and stops, refusals."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sim_rig import TOY_JOINTS, robot_file

from policy_runner.core.errors import Refusal
from policy_runner.core.safety.decision import Decision, Reason
from policy_runner.package_files import share_path

pytestmark = [
    pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed"),
    pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed"),
]

BALANCER = Path(share_path("models", "balancer"))


def balancer(folder: Path, **keys: Any) -> Any:
    from policy_runner.sim.balancer import MODEL_FILE

    text = MODEL_FILE.read_text("utf-8")
    keys.setdefault("start", {"tilt_spread": 0.08})
    return robot_file(folder, "balancer.xml", text, **keys)


def in_loop(robot: Any, spec: Path = BALANCER, params: Path | None = None, **how: Any) -> Any:
    from policy_runner.sim.loop.policy_in_loop import put_in_loop

    return put_in_loop(spec, robot, params, **how)


def commanded(tick: int) -> tuple[float, float]:
    return 0.5 * np.sin(tick / 150), 0.8 * np.cos(tick / 210)


def test_twenty_seconds_equal_a_loop_by_hand_bit_by_bit(tmp_path: Path) -> None:
    import mujoco
    import onnxruntime

    from policy_runner.sim.balancer import MODEL_FILE
    from policy_runner.sim.handwritten_loop import MAX_WHEEL_SPEED, normalize, observe
    from policy_runner.sim.sensors import Reading

    sensors = {
        "imu/data": {"type": "imu"},
        "joint_states": {"type": "joint_states", "shuffle": 1},
    }
    loop = in_loop(balancer(tmp_path, sensors=sensors))
    loop.begin(seed=5)

    model = mujoco.MjModel.from_xml_path(str(MODEL_FILE))
    data = mujoco.MjData(model)
    data.qpos[:] = loop.plant.data.qpos
    mujoco.mj_forward(model, data)
    session = onnxruntime.InferenceSession(str(BALANCER / "policy.onnx"))
    name = session.get_inputs()[0].name
    statistics = np.load(BALANCER / "statistics.npz")
    wheels = [model.joint(f"{side}_wheel_joint") for side in ("left", "right")]
    velocities = [joint.dofadr[0] for joint in wheels]
    action = np.zeros(2)
    for tick in range(2000):
        loop.inputs.command[[0, 5]] = commanded(tick)
        loop.tick()
        reading = Reading(
            data.qvel[3:6].copy(),
            data.qpos[[4, 5, 6, 3]],
            np.zeros(3),
            np.zeros(2),
            data.qvel[velocities],
        )
        observation = observe(reading, commanded(tick), action)
        given = normalize(observation, statistics["mean"], statistics["var"])
        raw = session.run(None, {name: given})[0][0].astype(np.float64)
        action = np.clip(raw, -1.0, 1.0)
        data.ctrl[:] = action * MAX_WHEEL_SPEED
        mujoco.mj_step(model, data, 5)
        assert loop.plant.data.qpos.tobytes() == data.qpos.tobytes(), f"tick {tick}"
    assert loop.plant.tilt < 0.3
    loop.close()


def test_an_episode_repeats_with_its_seed_and_not_with_another(tmp_path: Path) -> None:
    from policy_runner.sim.variation import Variation

    sensors = {
        "imu/data": {
            "type": "imu",
            "noise_orientation": 0.005,
            "noise_angular_velocity": 0.02,
        },
        "joint_states": {"type": "joint_states", "noise_velocity": 0.05},
    }
    ends = []
    loop = in_loop(balancer(tmp_path, sensors=sensors), noise_seed=1)
    for seed, heavy in ((1, 1.0), (2, 1.0), (1, 1.2)):
        loop.begin(seed, Variation(body_mass=heavy))
        loop.run(2.0)
        ends.append(loop.plant.data.qpos.tobytes())
    loop.close()
    loop = in_loop(balancer(tmp_path, sensors=sensors), noise_seed=1)
    loop.begin(1)
    loop.run(2.0)
    assert ends[0] == loop.plant.data.qpos.tobytes()
    assert len(set(ends)) == 3
    loop.close()


def test_the_limits_and_stops_are_the_robots(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    rows = {
        "joints.left_wheel_joint.upper": 2.0,
        "joints.left_wheel_joint.lower": -2.0,
        "inputs.imu.max_age": 0.05,
        "require_arming": True,
    }
    params.write_text(yaml.safe_dump({"policy_runner": {"ros__parameters": rows}}), "utf-8")
    loop = in_loop(balancer(tmp_path / "r"), params=params)
    loop.begin()
    loop.inputs.command[0] = 0.6
    commands = []
    loop.run(1.0, lambda _, step: commands.append(step.command.copy()))
    assert np.abs(commands)[:, 0].max() == 2.0
    assert loop.loaded.pipeline.limit_hits[0] > 0
    loop.inputs.skipped = {"imu"}
    step = None
    for _ in range(8):
        step = loop.tick()
    assert step is not None
    assert step.decision is Decision.HOLD
    assert loop.loaded.pipeline.safety.reason is Reason.INPUT_STALE
    assert step.command.tolist() == [0.0, 0.0]
    loop.close()


def test_a_change_of_readings_makes_the_robot_fall(tmp_path: Path) -> None:
    loop = in_loop(balancer(tmp_path))
    loop.begin()

    def swapped(_input: str, kind: str, numbers: Any) -> Any:
        return -numbers if kind == "velocity" else numbers

    loop.inputs.change = swapped
    loop.run(10.0, lambda one, _: one.plant.tilt > 0.8)
    assert loop.plant.tilt > 0.8
    loop.close()


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            {"sensors": {"joint_states": {"type": "joint_states"}}},
            r"sensors.imu/data: expected a sensor for input imu \(imu/data, sensor_msgs/msg/Imu\), "
            r"got joint_states \(sensor_msgs/msg/JointState\)",
        ),
        ({"physics": {"timestep": 0.003}}, "physics.timestep: expected a divisor of 0.01 s"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence):
        in_loop(balancer(tmp_path, **keys))


def test_other_joints_are_refused_with_both_lists(tmp_path: Path) -> None:
    toy = robot_file(tmp_path, "toy.xml")
    with pytest.raises(Refusal) as caught:
        in_loop(toy)
    text = str(caught.value)
    assert "(left_wheel_joint, right_wheel_joint), got no left_wheel_joint" in text
    assert f"the robot has {', '.join(TOY_JOINTS)}" in text
    assert "joint_prefix" in text


def test_a_held_joint_without_a_number_is_refused(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    rows = {"command.held_joints": ["head=far"]}
    params.write_text(yaml.safe_dump({"policy_runner": {"ros__parameters": rows}}), "utf-8")
    with pytest.raises(Refusal, match=r"expected `joint=number` each, finite, got 'head=far'"):
        in_loop(balancer(tmp_path / "r"), params=params)
