"""Unitree G1 and Go1 of the `mjlab` wheel as robots from files, with the settings of their trainer.

`pip install --no-deps mjlab==1.6.0` suffices: only its XML files and meshes are read. The policies
are next to the repository. Where either is absent, the tests that need it skip.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
POLICIES = ROOT.parent / "shared" / "data" / "policies"
SPECS = ROOT / "test" / "formats" / "specs"


# The network of MuJoCo Playground's task Go1JoystickFlatTerrain, experimental/sim2sim/onnx/
# go1_policy.onnx, as `policy.onnx`.
GO1_POLICY = "go1-playground"


def _wheel() -> Path | None:
    found = find_spec("mjlab")
    places = list(found.submodule_search_locations or ()) if found is not None else []
    folder = Path(places[0], "asset_zoo", "robots") if places else None
    return folder if folder is not None and folder.is_dir() else None


ROBOTS = _wheel()
needs_walkers = pytest.mark.skipif(
    ROBOTS is None or find_spec("mujoco") is None or find_spec("onnxruntime") is None,
    reason="the walkers need mujoco, onnxruntime, and the wheel mjlab 1.6.0 (--no-deps)",
)
needs_g1_policies = pytest.mark.skipif(
    not POLICIES.is_dir(), reason="the published policies (../shared/data/policies) are not here"
)


needs_go1_policy = pytest.mark.skipif(
    not (POLICIES / GO1_POLICY).is_dir(),
    reason=f"the published policy ../shared/data/policies/{GO1_POLICY} is not here",
)


def _two_stages(rotors: tuple[float, ...], gears: tuple[float, ...]) -> float:
    """Inertia at the joint of a two-stage planetary gear: each rotor times its squared ratio."""
    return rotors[0] * (gears[1] * gears[2]) ** 2 + rotors[1] * gears[2] ** 2 + rotors[2]


# The motors of the trainer's g1_constants.py: rotor inertias [kg m^2] and gear ratios.
_5020 = _two_stages((0.139e-4, 0.017e-4, 0.169e-4), (1, 1 + 46 / 18, 1 + 56 / 16))
_7520_14 = _two_stages((0.489e-4, 0.098e-4, 0.533e-4), (1, 4.5, 1 + 48 / 22))
_7520_22 = _two_stages((0.489e-4, 0.109e-4, 0.738e-4), (1, 4.5, 5))
_4010 = _two_stages((0.068e-4, 0.0, 0.0), (1, 5, 5))
G1_MOTORS = {  # joints -> armature [kg m^2], effort limit [N m]
    ".*_(elbow|shoulder_pitch|shoulder_roll|shoulder_yaw|wrist_roll)_joint": (_5020, 25.0),
    ".*_hip_(pitch|yaw)_joint": (_7520_14, 88.0),
    "waist_yaw_joint": (_7520_14, 88.0),
    ".*_(hip_roll|knee)_joint": (_7520_22, 139.0),
    ".*_wrist_(pitch|yaw)_joint": (_4010, 5.0),
    "waist_(pitch|roll)_joint": (2 * _5020, 50.0),
    ".*_ankle_(pitch|roll)_joint": (2 * _5020, 50.0),
}
_ROTOR = 0.000111842
PHYSICS = {"timestep": 0.005, "integrator": "implicitfast", "iterations": 10, "ls_iterations": 20}
IMU = {"type": "imu", "gyro": "imu_ang_vel", "accelerometer": "imu_lin_acc"}
SENSORS = {
    "imu/data": IMU,
    "joint_states": {"type": "joint_states", "shuffle": 7},
    "odom": {"type": "odometry"},
}


def g1(folder: Path) -> Path:
    """Write the G1's robot.yaml next to a copy of its model; return its path."""
    return _robot(
        folder,
        "g1",
        base="pelvis",
        start={"height": 0.80},
        joints={
            "armature": {name: inertia for name, (inertia, _) in G1_MOTORS.items()},
            "effort_limit": {name: limit for name, (_, limit) in G1_MOTORS.items()},
        },
        contacts=[
            {
                "geoms": ["(left|right)_foot[1-7]_collision"],
                "friction": 0.6,
                "condim": 3,
                "priority": 1,
            }
        ],
    )


def go1(folder: Path, **keys: Any) -> Path:
    """Write the Go1's robot.yaml next to a copy of its model; return its path."""
    upper = {".*_(hip|thigh)_joint": _ROTOR * 6**2, ".*_calf_joint": _ROTOR * 9**2}
    pose = {".*thigh_joint": 0.9, ".*calf_joint": -1.8, ".*R_hip_joint": 0.1, ".*L_hip_joint": -0.1}
    frequency = 2 * 3.1415926535 * 10
    # The trainer's gains: 10 Hz and a damping ratio of 2 for the rotor's inertia.
    content = {
        "base": "trunk",
        "start": {"height": 0.30, "joints": pose},
        "joints": {
            "armature": upper,
            "effort_limit": {".*_(hip|thigh)_joint": 23.7, ".*_calf_joint": 35.55},
        },
        "actuators": {
            "stiffness": {name: one * frequency**2 for name, one in upper.items()},
            "damping": {name: 4 * one * frequency for name, one in upper.items()},
        },
        "contacts": [{"geoms": ["[FR][LR]_foot_collision"], "friction": 1.0, "priority": 1}],
        **keys,
    }
    return _robot(folder, "go1", **content)


def playground_go1(folder: Path) -> Path:
    """The same model with the joints, gains and friction of MuJoCo Playground's Go1."""
    return go1(
        folder,
        start={"height": 0.278},
        joints={
            "armature": 0.005,
            "damping": 0.5,
            "frictionloss": {".*_(hip|thigh)_joint": 0.3, ".*_calf_joint": 1.0},
            "effort_limit": {".*_(hip|thigh)_joint": 23.7, ".*_calf_joint": 35.55},
        },
        actuators={"stiffness": 35.0, "damping": 0.0},
        contacts=[{"geoms": ["[FR][LR]_foot_collision"], "friction": 0.6, "priority": 1}],
    )


def _robot(folder: Path, name: str, **keys: Any) -> Path:
    assert ROBOTS is not None
    if not folder.exists():
        shutil.copytree(ROBOTS / f"unitree_{name}" / "xmls", folder)
    content = {
        "schema": "policy_runner_robot/1",
        "name": name,
        "model": {"file": f"{name}.xml"},
        "physics": PHYSICS,
        "sensors": SENSORS,
        **keys,
    }
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    return path


def policy_folder(folder: Path, name: str) -> Path:
    """Copy a published policy and write its spec next to it; return the folder."""
    shutil.copytree(POLICIES / name, folder)
    shutil.copy(SPECS / f"{name}.yaml", folder / "policy.yaml")
    return folder
