"""The published policies next to the checkout, and specs for folders that lack facts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from policy_runner.backends.onnxruntime.model_facts import read_model_facts
from policy_runner.cli.main import main

POLICIES = Path(__file__).resolve().parents[4] / "shared" / "data" / "policies"
MISSING = f"no published policies in {POLICIES}"


def imported(folder: str, output: Path, model: str = "") -> dict[str, Any]:
    """Import a folder's files; return the draft as plain data."""
    words = ["import", str(POLICIES / folder), "-o", str(output), "--force"]
    assert main([*words, *(["--model", str(POLICIES / folder / model)] if model else [])]) == 0
    content = yaml.safe_load((output / "policy.yaml").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def write_spec(spec: dict[str, Any], folder: Path) -> Path:
    """Write `policy.yaml` again, without comments and anchors."""
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return path


def signals(folder: str) -> Path:
    """Return the folder's signals with the results of the trainer's code."""
    (found,) = (POLICIES / folder).glob("signals_*.npz")
    return found


def joint_names(folder: str) -> list[str]:
    """Return the policy's joint order from the notes next to the signals."""
    with np.load(signals(folder), allow_pickle=False) as stored:
        return [str(name) for name in stored["target_joint_names"]]


INPUTS = {
    "imu": {"type": "sensor_msgs/msg/Imu", "topic": "imu/data"},
    "joint_states": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"},
    "cmd_vel": {"type": "geometry_msgs/msg/Twist", "topic": "cmd_vel"},
}
LITE3 = {
    "control_dt": 0.012,
    "default_joint_pos": [0.0, -0.65, 1.3] * 4,
    "inputs": INPUTS,
    "terms": [
        {"term": "field", "name": "angular_velocity", "input": "imu", "field": "angular_velocity",
         "scale": 0.25},
        {"term": "projected_gravity", "input": "imu"},
        {"term": "velocity_command", "input": "cmd_vel", "range": [-0.8, 0.8]},
        {"term": "joint_position", "input": "joint_states", "relative_to": "default_joint_pos"},
        {"term": "joint_velocity", "input": "joint_states", "scale": 0.05},
        {"term": "last_action"},
    ],
    "group": {"kind": "position", "scale": {".*_HipX_joint": 0.125, ".*_(HipY|Knee)_joint": 0.25},
              "relative_to": "default_joint_pos"},
}  # fmt: skip
B2W = {
    "control_dt": 0.02,
    "default_joint_pos": [0.0] * 4 + [0.4] * 4 + [-1.3] * 4 + [0.0] * 4,
    "inputs": {**INPUTS, "odom": {"type": "nav_msgs/msg/Odometry", "topic": "odom"}},
    "terms": [
        {"term": "field", "name": "velocity", "input": "odom", "field": "twist.twist.linear"},
        {"term": "field", "name": "rates", "input": "imu", "field": "angular_velocity"},
        {"term": "projected_gravity", "input": "imu"},
        {"term": "velocity_command", "input": "cmd_vel"},
        {"term": "joint_position", "input": "joint_states", "relative_to": "default_joint_pos",
         "wrap": 4 * np.pi},
        {"term": "joint_velocity", "input": "joint_states"},
        {"term": "last_action"},
    ],
}  # fmt: skip


def filled(folder: str, output: Path) -> dict[str, Any]:
    """Return the imported draft with every TODO replaced from the folder's notes."""
    spec = imported(folder, output)
    names = joint_names(folder)
    if folder.startswith("g1-"):
        spec["joint_names"] = spec["action"][0]["groups"][0]["joints"] = names
    if folder in ("lite3-ppo", "b2w-lstm"):
        known: dict[str, Any] = {"lite3-ppo": LITE3, "b2w-lstm": B2W}[folder]
        for key in ("control_dt", "default_joint_pos", "inputs"):
            spec[key] = known[key]
        spec["joint_names"] = names
        spec["last_action"] = "raw"
        spec["observation"][0].update(terms=list(known["terms"]), normalization="none")
        if folder == "lite3-ppo":
            spec["action"][0]["groups"] = [{**known["group"], "joints": names}]
        else:
            spec["action"][0]["groups"] = [
                {"kind": "position", "joints": names[:12], "scale": 0.5,
                 "relative_to": "default_joint_pos"},
                {"kind": "velocity", "joints": names[12:], "scale": 5.0},
            ]  # fmt: skip
    write_spec(spec, output)
    return spec


def tensor_spec(model: Path, folder: Path) -> Path:
    """Write a spec that only connects the tensors of a model: numbers in, numbers out."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = read_model_facts(model)
    for path in (facts.path, *facts.data_files):
        shutil.copyfile(path, folder / path.name)
    pairs = [(one.name, one.name[:-2] + "out") for one in facts.inputs if one.name.endswith("_in")]
    states = {name for pair in pairs for name in pair}
    first, *others = [one for one in facts.outputs if one.name not in states]
    spec = {
        "schema": "policy_runner/1",
        "name": "tensors",
        "model": {"file": model.name},
        "control_dt": 0.02,
        "joint_names": [],
        "inputs": {"numbers": {"type": "std_msgs/msg/Float32MultiArray", "topic": "numbers"}},
        "observation": [
            {
                "tensor": one.name,
                "whole": {"term": "field", "input": "numbers", "field": f"data[0:{one.size}]"},
            }
            for one in facts.inputs
            if one.name not in states
        ],
        "state": [{"input": one, "output": other} for one, other in pairs],
        "action": [
            {
                "tensor": first.name,
                "groups": [
                    {"kind": "value", "elements": [f"e{k}" for k in range(first.size or 0)]}
                ],
            }
        ],
        "ignored_outputs": [one.name for one in others],
        "last_action": "raw",
    }
    return write_spec(spec, folder)
