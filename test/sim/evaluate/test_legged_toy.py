"""A toy with four legs: foot slip, wrong zeros, falls by height, a simulation that diverges."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sim_rig import LEGS, TOY_JOINTS, robot_file

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("mujoco", "onnxruntime", "onnx")),
    reason="mujoco, onnxruntime or onnx is not installed",
)
POSE = dict.fromkeys([f"{leg}_hip" for leg in LEGS], 0.5)
POSE |= dict.fromkeys([f"{leg}_knee" for leg in LEGS], -1.0)
FEET = [f"{leg}_foot" for leg in LEGS]


def standing(folder: Path) -> Path:
    """Write a policy that commands its default pose: its weights are 0."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True)
    size = len(TOY_JOINTS) + 3
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count])
        for name, count in (("obs", size), ("actions", len(TOY_JOINTS)))
    ]
    weights = numpy_helper.from_array(np.zeros((size, len(TOY_JOINTS)), np.float32), "weights")
    node = helper.make_node("MatMul", ["obs", "weights"], ["actions"])
    graph = helper.make_graph([node], "standing", tensors[:1], tensors[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "policy.onnx"))
    spec = {
        "schema": "policy_runner/1",
        "name": "standing",
        "model": {"file": "policy.onnx"},
        "control_dt": 0.02,
        "joint_names": TOY_JOINTS,
        "default_joint_pos": [POSE[name] for name in TOY_JOINTS],
        "stiffness": 60.0,
        "damping": 2.0,
        "inputs": {
            "joints": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"},
            "cmd": {"type": "geometry_msgs/msg/Twist", "topic": "cmd_vel"},
        },
        "observation": [
            {
                "tensor": "obs",
                "normalization": "none",
                "terms": [
                    {"term": "joint_position", "input": "joints",
                     "relative_to": "default_joint_pos"},
                    {"term": "velocity_command", "input": "cmd",
                     "range": [[-1, 1], [-0.5, 0.5], [-2, 2]]},
                ],
            }
        ],
        "action": [
            {
                "tensor": "actions",
                "groups": [{"kind": "position", "joints": TOY_JOINTS, "scale": 0.3,
                            "relative_to": "default_joint_pos"}],
            }
        ],
        "last_action": "raw",
    }  # fmt: skip
    (folder / "policy.yaml").write_text(yaml.safe_dump(spec), "utf-8")
    return folder


def toy(folder: Path, **keys: Any) -> Any:
    from policy_runner.sim.evaluate.subject import Subject

    sensors = {
        "joint_states": {"type": "joint_states", "shuffle": 5},
        "feet": {"type": "contacts", "of": FEET},
    }
    keys.setdefault("start", {"height": 0.34})
    robot = robot_file(folder / "robot", "toy.xml", ground={"add": True}, sensors=sensors, **keys)
    return Subject(standing(folder / "policy"), robot.path)


def episode_of(
    given: Any, seconds: float = 1.0, rules: tuple[float, float] = (0.8, 0.5), **conditions: Any
) -> tuple[Any, Any]:
    """Run an episode; return it and the loop. `rules` are `fall_tilt` and `fall_height`."""
    from policy_runner.core.spec import read_spec
    from policy_runner.sim.evaluate.episode import run_episode
    from policy_runner.sim.evaluate.plan import Conditions, Plan, default_commands
    from policy_runner.sim.evaluate.subject import bind

    commands = default_commands(read_spec(given.spec).spec)
    loop = bind(given)
    plan = Plan(1, seconds, 0, commands, Conditions(**conditions), *rules)
    return run_episode(loop, plan, 0), loop


def test_it_stands_and_its_feet_do_not_slide(tmp_path: Path) -> None:
    from policy_runner.sim.evaluate.summary import summarize

    episode, loop = episode_of(toy(tmp_path), 3.0)
    figures = summarize([episode], 5.0)
    loop.close()
    assert figures["falls"] == 0
    assert figures["foot_slip"] is not None
    assert figures["foot_slip"] < 0.02
    assert figures["vx_rmse"] > 0.05  # it stands, whatever is commanded
    assert figures["vy_rmse"] is not None


def test_its_feet_slide_on_ice(tmp_path: Path) -> None:
    push = {"push": (20.0, 20.0)}
    firm, loop = episode_of(toy(tmp_path / "a"), 8.0, **push)
    loop.close()
    icy, loop = episode_of(toy(tmp_path / "b"), 8.0, friction=(0.02, 0.02), **push)
    loop.close()
    assert icy.slid / icy.touched > 3.0 * firm.slid / firm.touched


def test_commands_are_a_part_of_the_trained_range(tmp_path: Path) -> None:
    from policy_runner.core.spec import read_spec
    from policy_runner.sim.evaluate.plan import default_commands

    spec = read_spec(standing(tmp_path / "policy")).spec
    assert default_commands(spec) == {
        "vx": pytest.approx((-0.6, 0.6)),
        "vy": pytest.approx((-0.3, 0.3)),
        "wz": pytest.approx((-1.2, 1.2)),
    }


def test_a_wrong_zero_is_in_encoders_and_motors(tmp_path: Path) -> None:
    plain, loop = episode_of(toy(tmp_path / "a"), 2.0)
    there = loop.plant.read.joint_positions
    loop.close()
    wrong, loop = episode_of(toy(tmp_path / "b"), 2.0, joint_offset=(0.1, 0.1))
    moved = loop.plant.read.joint_positions - there
    measured = loop.loaded.pipeline.slots["joints"].joints.values["position"]
    order = [list(loop.plant.joint_names).index(name) for name in TOY_JOINTS]
    assert np.all(np.abs(np.abs(moved) - 0.1) < 0.06)
    # The policy sees nothing of it: measured and commanded have the same error.
    assert np.all(np.abs(measured - there[order]) < 0.06)
    loop.close()
    assert plain.fell_s is None
    assert wrong.fell_s is None


def test_a_base_that_sinks_has_fallen(tmp_path: Path) -> None:
    limp = {"stiffness": 0.0, "damping": 0.05}
    episode, loop = episode_of(toy(tmp_path, actuators={"source": "own", **limp}), 2.0)
    loop.close()
    assert episode.fell_s is not None
    assert episode.most_tilt < 0.8  # not by its tilt


def test_a_simulation_that_diverges_is_a_fall_with_its_reason(tmp_path: Path) -> None:
    stiff = {"source": "own", "stiffness": 1e6, "damping": 0.0}
    physics = {"timestep": 0.01, "integrator": "Euler"}
    episode, loop = episode_of(toy(tmp_path, actuators=stiff, physics=physics), 2.0, (4.0, 0.0))
    loop.close()
    assert episode.diverged.startswith("an invalid ")
    assert episode.fell_s == episode.simulated_s


def test_what_if_the_default_pose_is_forgotten(tmp_path: Path) -> None:
    from policy_runner.core.spec import read_spec
    from policy_runner.sim.evaluate.what_if import mutants

    found = mutants(read_spec(standing(tmp_path / "policy")).spec, 50.0)
    texts = [one.text for one in found]
    assert "joint positions not relative to the default pose" in texts
    assert "FL_hip and FR_hip exchanged" in texts
    assert "RL_knee and RR_knee exchanged" in texts
    assert not any("gyro" in text for text in texts)
    assert "25 Hz in place of 50 Hz" in texts
