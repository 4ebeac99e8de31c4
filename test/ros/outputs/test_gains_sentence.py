"""The gains of training in the log: joints with equal gains are named together."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from core_rig import spec_content, write_spec

from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.spec import read_spec

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="ROS 2 is not installed")
LEGS = [f"{leg}_{joint}" for leg in ("FL", "FR") for joint in ("hip", "thigh", "calf")]


def sentence(folder: Path, gains: dict[str, dict[str, float]]) -> str:
    from policy_runner.ros.outputs.joint_gains import gains_sentence

    spec = read_spec(write_spec(folder, spec_content(joint_names=["a", "b", *LEGS]))).spec
    robot = {name: RobotJoint(f"robot_{name}") for name in spec.joint_names}
    return gains_sentence(spec, {f"robot_{name}": of for name, of in gains.items()}, robot)


def test_equal_gains_are_said_once_with_their_joints(tmp_path: Path) -> None:
    gains = {name: {"stiffness": 20.0, "damping": 0.7} for name in LEGS}
    gains |= {"a": {"stiffness": 0.0, "damping": 1.0}, "b": {"damping": 1.0}}
    assert sentence(tmp_path, gains) == (
        "small was trained with stiffness and damping 0 and 1 (a), - and 1 (b), "
        "20 and 0.7 (6 joints: FL_hip, FL_thigh, FL_calf, FR_hip, FR_thigh, FR_calf): "
        "make sure that the robot's joints use them (~/joint_gains)"
    )
