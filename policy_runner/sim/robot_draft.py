"""Writes a first `robot.yaml` for an MJCF or URDF, and warns of what makes a robot explode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import yaml

from policy_runner.core.errors import refuse
from policy_runner.sim.plant.model_edits import OWN
from policy_runner.sim.plant.plant import Plant
from policy_runner.sim.robot_file.robot_keys import SCHEMA
from policy_runner.sim.robot_file.robot_reader import MODEL_SUFFIXES, read_robot

LONGEST_TIMESTEP_S = 0.005
_INTEGRATORS = ("Euler", "RK4", "implicit", "implicitfast")


def draft_robot(path: Path, meshes: bool = True) -> tuple[str, list[str]]:
    """Describe a model as a `robot.yaml`.

    Args:
        path: the MJCF or URDF.
        meshes: False: as `model.meshes: false`.

    Returns:
        The text of the file, and warnings, one sentence each.

    Raises:
        Refusal: the file is no model, or does not load.
    """
    if path.suffix.lower() not in MODEL_SUFFIXES:
        expected = f"an MJCF or a URDF ({', '.join(MODEL_SUFFIXES)})"
        raise refuse(str(path), "--draft", expected, path.name)
    plant = Plant(read_robot(path, meshes))
    content: dict[str, Any] = {"schema": SCHEMA, "name": path.stem}
    content["model"] = {"file": path.name}
    if not meshes:
        content["model"]["meshes"] = False
    model = plant.model
    content["base"] = plant.base
    content["physics"] = {
        "timestep": float(model.opt.timestep),
        "integrator": _INTEGRATORS[int(model.opt.integrator)],
    }
    if model.nkey:
        content["start"] = {"keyframe": model.key(0).name or "TODO: name the keyframe"}
    elif plant.floats:
        content["start"] = {"height": round(float(plant.read.position(plant.base)[2]), 4)}
    content["sensors"] = _sensors(plant)
    warnings = _warnings(plant)
    head = [
        f"# Drafted from {path.name}: read every line. The reference is",
        "# docs/reference/robot_file.md. Keys that are not here keep the values of the model.",
    ]
    head += [f"# Warning: {text}" for text in warnings]
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)
    return "\n".join([*head, text]) + "\n".join(_hints(plant)) + "\n", warnings


def _sensors(plant: Plant) -> dict[str, Any]:
    model = plant.model
    imu: dict[str, Any] = {"type": "imu"}
    parts = {
        int(mujoco.mjtSensor.mjSENS_GYRO): "gyro",
        int(mujoco.mjtSensor.mjSENS_ACCELEROMETER): "accelerometer",
        int(mujoco.mjtSensor.mjSENS_FRAMEQUAT): "orientation",
    }
    others = []
    for k in range(model.nsensor):
        name = model.sensor(k).name
        part = parts.get(int(model.sensor_type[k]))
        if not name or name.startswith(OWN):
            continue
        if part is not None and part not in imu:
            imu[part] = name
        else:
            others.append(name)
    found: dict[str, Any] = {
        "imu/data": imu,
        "joint_states": {"type": "joint_states"},
        "odom": {"type": "odometry"},
    }
    if others:
        found["sensors"] = {"type": "sensors", "names": others}
    for k in range(model.ncam):
        name = model.camera(k).name
        # A camera that follows the robot from outside is for people.
        if name and int(model.cam_mode[k]) == int(mujoco.mjtCamLight.mjCAMLIGHT_FIXED):
            found[f"{name}/image"] = {"type": "camera", "camera": name}
    return found


def _warnings(plant: Plant) -> list[str]:
    model = plant.model
    found = []
    joints = [model.joint(name) for name in plant.joint_names]
    unnamed = sum(
        not model.joint(k).name
        for k in range(model.njnt)
        if int(model.jnt_type[k]) in (2, 3)  # slides and hinges
    )
    if unnamed:
        found.append(f"{unnamed} joints have no name, so no command can reach them.")
    bare = [j.name for j in joints if j.armature[0] == 0.0 and j.name in plant.driven_joints]
    if bare:
        found.append(
            f"the armature is 0 at {_some(bare)}: with stiff gains such a joint may explode; set "
            "joints.armature to the rotor inertia times the squared gear ratio."
        )
    explicit = int(model.opt.integrator) in (0, 1)
    damped = [j.name for j in joints if np.any(j.damping)]
    if explicit and (damped or bare):
        found.append(
            f"the integrator is {_INTEGRATORS[int(model.opt.integrator)]}, which treats gains "
            "explicitly: with damping use physics.integrator: implicitfast."
        )
    if model.opt.timestep > LONGEST_TIMESTEP_S:
        found.append(
            f"the timestep is {model.opt.timestep:g} s: trainers of legged robots use at most "
            f"{LONGEST_TIMESTEP_S:g} s."
        )
    unlimited = [
        j.name for j in joints if j.name in plant.driven_joints and not _limited(model, int(j.id))
    ]
    if unlimited:
        found.append(
            f"no effort limit at {_some(unlimited)}: set joints.effort_limit [N m], or the "
            "simulated motors are stronger than the robot's."
        )
    return found


def _limited(model: mujoco.MjModel, joint: int) -> bool:
    if model.jnt_actfrclimited[joint]:
        return True
    of = [k for k in range(model.nu) if int(model.actuator_trnid[k, 0]) == joint]
    return any(model.actuator_forcelimited[k] or model.actuator_ctrllimited[k] for k in of)


def _hints(plant: Plant) -> list[str]:
    lines = [
        "# joints:",
        "#   armature: {" + f"{plant.joint_names[0] if plant.joint_names else 'joint'}: 0.01" + "}",
        "#   effort_limit: {.*: 25.0}",
        "# contacts:",
        "#   - {geoms: [.*_foot.*], friction: 0.8, condim: 3, priority: 1}",
    ]
    if not plant.model.nkey:
        lines += ["# start:", "#   joints: {}  # default: the policy's default pose"]
    return lines


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} others" if len(names) > 4 else "")
