"""A humanoid and a quadruped walk, as robots from files, and the quadruped takes every command.

They walk 20 s at 0.5 m/s with published policies. One policy is also driven by a loop by hand: both
end in the same floats.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from walkers_rig import (
    G1_MOTORS,
    GO1_POLICY,
    PHYSICS,
    g1,
    go1,
    needs_g1_policies,
    needs_go1_policy,
    needs_walkers,
    playground_go1,
    policy_folder,
)

SECONDS, SPEED = 20.0, 0.5
HIST5 = "g1-velocity-hist5"


@needs_walkers
@needs_g1_policies
@pytest.mark.parametrize("name", [HIST5, "g1-mjlab-velocity-extdata"])
def test_the_g1_walks(tmp_path: Path, name: str) -> None:
    walks(policy_folder(tmp_path / name, name), g1(tmp_path / "g1"), "pelvis")


@needs_walkers
@needs_go1_policy
def test_the_go1_walks(tmp_path: Path) -> None:
    folder = policy_folder(tmp_path / GO1_POLICY, GO1_POLICY)
    walks(folder, playground_go1(tmp_path / "go1"), "trunk")


def walks(policy: Path, robot: Path, base: str) -> None:
    """20 s without a fall, at the commanded speed."""
    from policy_runner.sim.loop.policy_in_loop import put_in_loop
    from policy_runner.sim.robot_file.robot_reader import read_robot

    loop = put_in_loop(policy, read_robot(robot))
    loop.begin()
    loop.inputs.command[0] = SPEED
    forward, tilts = [], []

    def look(one: Any, _step: Any) -> None:
        forward.append(one.plant.read.velocity(base)[0][0])
        tilts.append(one.plant.tilt)

    loop.run(SECONDS, look)
    loop.close()
    assert max(tilts) < 0.5
    assert np.mean(forward[250:]) == pytest.approx(SPEED, abs=0.1)


@needs_walkers
@needs_g1_policies
def test_a_loop_by_hand_ends_in_the_same_floats(tmp_path: Path) -> None:
    from policy_runner.sim.loop.policy_in_loop import put_in_loop
    from policy_runner.sim.robot_file.robot_reader import read_robot

    folder = policy_folder(tmp_path / HIST5, HIST5)
    robot = g1(tmp_path / "g1")
    loop = put_in_loop(folder, read_robot(robot))
    loop.begin()
    loop.inputs.command[0] = SPEED
    loop.run(SECONDS)
    by_hand = walk_by_hand(robot.with_name("g1.xml"), folder, SECONDS)
    assert by_hand == loop.plant.data.qpos.tobytes()
    loop.close()


def walk_by_hand(xml: Path, folder: Path, seconds: float) -> bytes:
    """Build the model and the observation without this project; return the last qpos."""
    import re

    import mujoco
    import onnxruntime

    spec = yaml.safe_load((folder / "policy.yaml").read_text("utf-8"))
    names, default = spec["joint_names"], np.array(spec["default_joint_pos"], dtype=np.float64)
    edited = mujoco.MjSpec.from_file(str(xml))
    edited.option.timestep = PHYSICS["timestep"]
    edited.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    edited.option.iterations = PHYSICS["iterations"]
    edited.option.ls_iterations = PHYSICS["ls_iterations"]
    floor = edited.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1])
    floor.friction = [1.0, 0.005, 0.0001]
    for geom in edited.geoms:
        if re.fullmatch("(left|right)_foot[1-7]_collision", geom.name):
            geom.friction = [0.6, *geom.friction[1:]]
            geom.condim, geom.priority = 3, 1
    hinges = [j for j in edited.joints if j.type == mujoco.mjtJoint.mjJNT_HINGE]
    for joint in hinges:
        (motor,) = (m for pattern, m in G1_MOTORS.items() if re.fullmatch(pattern, joint.name))
        joint.armature = motor[0]
        k = names.index(joint.name)
        kp, kd = float(spec["stiffness"][k]), float(spec["damping"][k])
        actuator = edited.add_actuator(name=joint.name, target=joint.name)
        actuator.trntype = mujoco.mjtTrn.mjTRN_JOINT
        actuator.gaintype, actuator.biastype = (
            mujoco.mjtGain.mjGAIN_FIXED,
            mujoco.mjtBias.mjBIAS_AFFINE,
        )
        actuator.gainprm[0] = kp
        actuator.biasprm[:3] = [0.0, -kp, -kd]
        actuator.ctrllimited = False
        actuator.forcelimited = True
        actuator.forcerange = [-motor[1], motor[1]]
    model = edited.compile()
    data = mujoco.MjData(model)
    joints = [model.joint(name) for name in names]
    at, dof = [j.qposadr[0] for j in joints], [j.dofadr[0] for j in joints]
    controls = [model.actuator(name).id for name in names]
    data.qpos[2] = 0.80
    data.qpos[at] = default
    data.ctrl[controls] = default
    mujoco.mj_forward(model, data)
    gyro = model.sensor("imu_ang_vel")
    place = slice(gyro.adr[0], gyro.adr[0] + 3)
    session = onnxruntime.InferenceSession(str(folder / "policy.onnx"))
    (input_name,) = (one.name for one in session.get_inputs())
    terms: list[list[Any]] = []
    raw = np.zeros(len(names))
    for _ in range(round(seconds / 0.02)):
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_comVel(model, data)
        mujoco.mj_sensorVel(model, data)
        w, x, y, z = data.qpos[3:7]
        gravity = (-2 * (x * z - w * y), -2 * (y * z + w * x), -1 + 2 * (x * x + y * y))
        frame = [
            data.sensordata[place] * 0.2,
            np.array(gravity),
            np.array([SPEED, 0.0, 0.0]),
            data.qpos[at] - default,
            data.qvel[dof] * 0.05,
            raw,
        ]
        terms = [
            [*before, now][-5:] for before, now in zip(terms or [[f] * 4 for f in frame], frame)
        ]
        observation = np.concatenate([np.concatenate(term) for term in terms])
        given = observation.astype(np.float32)[None]
        raw = session.run(None, {input_name: given})[0][0].astype(np.float64)
        data.ctrl[controls] = raw * 0.25 + np.array(spec["action"][0]["groups"][0]["offset"])
        mujoco.mj_step(model, data, 4)
    return bytes(data.qpos.tobytes())


@needs_walkers
def test_the_go1_stands_with_its_gains_and_takes_every_kind_of_command(tmp_path: Path) -> None:
    from policy_runner.sim.plant.plant import Plant
    from policy_runner.sim.robot_file.robot_reader import read_robot

    robot = Plant(read_robot(go1(tmp_path / "go1", twist={"drive": "base"})))
    names = list(robot.joint_names)
    pose = robot.read.joint_positions
    robot.command("position", names, pose)
    robot.advance(1000)
    # The gains of training are soft: 16 N m/rad. It sags until its rear calves touch, and stands.
    assert robot.tilt < 0.3
    assert robot.read.position("trunk")[2] > 0.2
    feet = [f"{leg}_calf" for leg in ("FR", "FL", "RR", "RL")]
    weight = 9.81 * float(robot.model.body_mass.sum())
    assert robot.read.contact_forces(feet).sum() == pytest.approx(weight, rel=0.05)
    knee = names.index("FR_calf_joint")
    robot.command("velocity", ["FR_calf_joint"], np.array([-1.0]))
    before = robot.read.joint_positions[knee]
    robot.advance(40)
    assert robot.read.joint_positions[knee] < before - 0.05
    robot.command("effort", ["FR_calf_joint"], np.array([20.0]))
    robot.advance(1)
    assert robot.read.joint_efforts[knee] == pytest.approx(20.0)
    robot.reset()
    robot.command("position", names, pose)
    robot.command("twist", ["linear.x"], np.array([0.4]))
    robot.advance(400)
    assert robot.read.position("trunk")[0] == pytest.approx(0.8, abs=0.01)
