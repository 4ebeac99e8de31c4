"""A small policy for tests of the commands, signals for it, and its expected results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

PERIOD_S = 0.02
JOINTS = ("hip", "knee")
ORDER = ("foreign", "knee", "hip")  # order of the JointState messages
DEFAULT = (0.1, -0.2)


def spec(**changes: Any) -> dict[str, Any]:
    """Return a spec: rates, gravity, two joints, a command, the last action; position targets."""
    return {
        "schema": "policy_runner/1",
        "name": "toy",
        "model": {"file": "toy.onnx"},
        "control_dt": PERIOD_S,
        "joint_names": list(JOINTS),
        "default_joint_pos": list(DEFAULT),
        "inputs": {
            "imu": {"type": "sensor_msgs/msg/Imu", "topic": "imu/data"},
            "joints": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"},
            "cmd": {"type": "geometry_msgs/msg/Twist", "topic": "cmd_vel"},
        },
        "observation": [
            {
                "tensor": "obs",
                "terms": [
                    {"term": "field", "name": "rates", "input": "imu", "field": "angular_velocity",
                     "scale": 0.5},
                    {"term": "projected_gravity", "input": "imu"},
                    {"term": "joint_position", "input": "joints",
                     "relative_to": "default_joint_pos"},
                    {"term": "velocity_command", "input": "cmd"},
                    {"term": "last_action"},
                ],
                "normalization": "none",
            }
        ],
        "action": [
            {
                "tensor": "actions",
                "groups": [{"kind": "position", "joints": list(JOINTS), "scale": 0.25,
                            "relative_to": "default_joint_pos"}],
            }
        ],
        "last_action": "raw",
        **changes,
    }  # fmt: skip


def weights(size: int = 13) -> np.ndarray:
    """Return the weights: obs [1, size] times them is the action [1, 2]."""
    return np.random.default_rng(7).normal(0.0, 0.3, (size, 2)).astype(np.float32)


def write_policy(folder: Path, size: int = 13, inside: bool = False, **changes: Any) -> Path:
    """Write policy.yaml and toy.onnx; return the folder. `inside`: a normalizer in the model."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True, exist_ok=True)

    def tensor(name: str, count: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count])

    first = "centred" if inside else "obs"
    centre = [helper.make_node("Sub", ["obs", "means"], [first])] if inside else []
    means = numpy_helper.from_array(np.full(size, 0.5, np.float32), "means")
    graph = helper.make_graph(
        [*centre, helper.make_node("MatMul", [first, "weights"], ["actions"])],
        "toy", [tensor("obs", size)], [tensor("actions", 2)],
        [numpy_helper.from_array(weights(size), "weights"), *([means] if inside else [])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "toy.onnx"))
    text = yaml.safe_dump(spec(**changes), sort_keys=False)
    (folder / "policy.yaml").write_text(text, encoding="utf-8")
    return folder


def write_quadruped(folder: Path) -> None:
    """Write policy.yaml for `small_models.quadruped`, whose batch axis is open, and the model."""
    from small_models import quadruped

    names = [f"joint{k}" for k in range(12)]
    quadruped(folder)
    content = spec(
        model={"file": "policy.onnx"}, joint_names=names, default_joint_pos=[0.0] * 12,
        inputs={"all": {"type": "std_msgs/msg/Float32MultiArray", "topic": "all"}},
        observation=[{"tensor": "obs", "normalization": "none", "terms": [
            {"term": "field", "name": "all", "input": "all", "field": "data[0:245]"}]}],
        action=[{"tensor": "actions", "groups": [{"kind": "position", "joints": names}]}],
    )  # fmt: skip
    (folder / "policy.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def signals(count: int = 20) -> dict[str, np.ndarray]:
    """Return smooth, seeded signals for it, in a trainer's layout."""
    t = np.arange(count) * PERIOD_S
    random = np.random.default_rng(3)

    def waves(columns: int) -> np.ndarray:
        return np.sin(t[:, None] * random.uniform(1, 9, columns) + random.uniform(0, 6, columns))

    quaternion = np.concatenate([0.2 * waves(3), np.ones((count, 1))], axis=1)
    return {
        "control_dt": np.array(PERIOD_S),
        "joint_state_names": np.array(ORDER),
        "joint_position": waves(3),
        "joint_velocity": waves(3),
        "imu_orientation_xyzw": quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True),
        "imu_angular_velocity": waves(3),
        "command": waves(3),
    }


def expected(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute observation, raw action and target with an independent plain loop."""
    observation, raw = [], []
    last = np.zeros(2, np.float32)
    for k in range(len(given["command"])):
        x, y, z, w = given["imu_orientation_xyzw"][k]
        gravity = [2 * (w * y - x * z), -2 * (y * z + w * x), 2 * (x * x + y * y) - 1]
        position = given["joint_position"][k][[2, 1]] - DEFAULT
        rates, command = 0.5 * given["imu_angular_velocity"][k], given["command"][k]
        row = np.concatenate([rates, gravity, position, command, last]).astype(np.float32)
        last = row @ weights()
        observation.append(row)
        raw.append(last)
    return {
        "expected_observation": np.array(observation),
        "expected_raw_action": np.array(raw),
        "expected_target": 0.25 * np.array(raw, dtype=np.float64) + DEFAULT,
        "target_joint_names": np.array(JOINTS),
        "target_kind": np.array(["position"] * 2),
    }


def save(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Write an .npz; keys may contain slashes and dots."""
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return path


def load(path: Path) -> dict[str, np.ndarray]:
    """Read an .npz."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def params(path: Path, text: str, section: str = "policy_runner") -> Path:
    """Write a parameter file with these lines."""
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    path.write_text(f"{section}:\n  ros__parameters:\n{lines}", encoding="utf-8")
    return path


def refusals(capsys: Any, *words: str) -> list[str]:
    """Run a command that must fail; return its output line by line."""
    from policy_runner.cli.main import main

    assert main([*words]) == 1
    return [line.removeprefix(f"policy-runner {words[0]}: ")
            for line in capsys.readouterr().err.splitlines()]  # fmt: skip
