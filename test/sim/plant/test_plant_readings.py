"""Readings belong to the present time, agree with each other, and have the frames they state."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sim_rig import LEGS, TOY_JOINTS, plant

pytestmark = pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed")

STAND = {
    "start": {"keyframe": "home"},
    "actuators": {"stiffness": 60, "damping": 3},
    "physics": {"timestep": 0.001},
}


def test_a_standing_toy_weighs_what_its_contacts_say(tmp_path: Path) -> None:
    robot = plant(tmp_path, "toy.xml", **STAND)
    robot.command("position", TOY_JOINTS, np.tile([0.5, -1.0], 4))
    robot.advance(2000)
    feet = robot.read.contact_forces([f"{leg}_foot" for leg in LEGS])
    mass = float(robot.model.body_mass.sum())
    assert feet.sum() == pytest.approx(9.81 * mass, rel=0.02)
    assert robot.read.contact_forces(["trunk", "FL_shank"]) == pytest.approx([0.0, feet[0]])
    assert robot.tilt < 0.1
    assert np.linalg.norm(robot.read.point_velocity("FL_foot")) < 0.01
    imu = robot.read.imu("trunk")
    assert imu[7:] == pytest.approx([0, 0, 9.81], abs=0.7)


def test_sensors_and_state_agree_after_every_step(tmp_path: Path) -> None:
    # MuJoCo's own sensor data is one step old after a step: 0.03 rad/s at this rate of turn.
    sensors = {
        "imu/data": {"type": "imu"},
        "named": {"type": "imu", "gyro": "rates", "orientation": "attitude"},
        "leg": {"type": "imu", "body": "FL_thigh"},
    }
    robot = plant(tmp_path, "toy.xml", sensors=sensors, **STAND)
    robot.data.qvel[3:6] = 1.0, -2.0, 3.0
    robot.data.qvel[:3] = 0.3, 0.2, 0.1
    for _ in range(20):
        robot.advance(1)
        state, named = (
            robot.read.imu("trunk"),
            robot.read.imu("trunk", gyro="rates", orientation="attitude"),
        )
        assert named[:7] == pytest.approx(state[:7], abs=1e-12)
        leg = robot.read.imu("FL_thigh")
        turn = robot.read.joint_velocities[0] * np.array([0.0, 1.0, 0.0])
        angle = robot.read.joint_positions[0]
        into_leg = np.array(
            [[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]]
        )
        assert leg[4:7] == pytest.approx(into_leg @ state[4:7] + turn, abs=1e-9)


def test_the_velocity_of_a_free_base_is_that_of_any_body(tmp_path: Path) -> None:
    import mujoco

    robot = plant(tmp_path, "toy.xml", **STAND)
    robot.data.qvel[:6] = 0.3, 0.2, 0.1, 1.0, -2.0, 3.0
    robot.advance(100)
    linear, angular = robot.read.velocity("trunk")
    robot.read.refresh()
    found = np.zeros(6)
    kind, number = mujoco.mjtObj.mjOBJ_XBODY, robot.model.body("trunk").id
    mujoco.mj_objectVelocity(robot.model, robot.data, kind, number, found, 1)
    assert np.concatenate((angular, linear)) == pytest.approx(found, abs=1e-12)
    assert robot.read.position("trunk") == pytest.approx(robot.data.xpos[number])


def test_an_odometry_has_the_axes_that_it_states(tmp_path: Path) -> None:
    from policy_runner.sim.loop.sensor_numbers import numbers_of

    sensors = {
        "odom": {"type": "odometry"},
        "world": {"type": "odometry", "twist_axes": "world"},
        "leg": {"type": "odometry", "body": "FL_thigh", "twist_axes": "world"},
        "leg_body": {"type": "odometry", "body": "FL_thigh"},
    }
    robot = plant(tmp_path, "toy.xml", sensors=sensors, **STAND)
    robot.data.qvel[:6] = 0.3, 0.2, 0.1, 1.0, -2.0, 3.0
    robot.advance(100)
    found = {name: numbers_of(one, robot) for name, one in robot.robot.spec.sensors.items()}
    assert found["world"][7:10].tobytes() == robot.data.qvel[:3].tobytes()
    for body, world, name in (("odom", "world", "trunk"), ("leg_body", "leg", "FL_thigh")):
        turn = robot.data.body(name).xmat.reshape(3, 3)
        assert found[body][:7] == pytest.approx(found[world][:7])
        for part in (slice(7, 10), slice(10, 13)):
            assert turn @ found[body][part] == pytest.approx(found[world][part], abs=1e-9)
            assert found[body][part] != pytest.approx(found[world][part], abs=1e-3)


def test_reading_does_not_change_the_simulation(tmp_path: Path) -> None:
    robots = [plant(tmp_path / name, "toy.xml", **STAND) for name in "ab"]
    for _ in range(50):
        for robot in robots:
            robot.command("position", TOY_JOINTS, np.tile([0.4, -0.9], 4))
            robot.advance(4)
        robots[0].read.sensor("rates")
        robots[0].read.contact_forces(["FL_foot"])
    assert robots[0].data.qpos.tobytes() == robots[1].data.qpos.tobytes()


def test_joints_have_their_names_in_a_shuffled_message(tmp_path: Path) -> None:
    from policy_runner.sim.loop.sensor_numbers import JointOrder

    sensors = {"joint_states": {"type": "joint_states", "shuffle": 4}}
    robot = plant(tmp_path, "toy.xml", sensors=sensors, **STAND)
    robot.data.qpos[7:] = np.arange(8.0)
    order = JointOrder(robot.robot.spec.sensors["joint_states"], robot)
    assert order.names != TOY_JOINTS
    assert sorted(order.names) == sorted(TOY_JOINTS)
    values = dict(zip(order.names, order.values(robot)["position"]))
    assert values == {name: float(k) for k, name in enumerate(TOY_JOINTS)}


def test_ground_is_added_only_where_a_floating_robot_has_none(tmp_path: Path) -> None:
    toy = plant(tmp_path / "a", "toy.xml", ground={"friction": 0.3}, **STAND)
    assert toy.model.geom("policy_runner/ground").friction[0] == 0.3
    with pytest.raises(KeyError):
        plant(tmp_path / "b", "arm.xml").model.geom("policy_runner/ground")
    toy = plant(tmp_path / "c", "toy.xml", ground={"add": False}, **STAND)
    toy.advance(1000)
    assert toy.read.position("trunk")[2] < -3.0


def test_properties_of_joints_and_contacts_reach_the_model(tmp_path: Path) -> None:
    robot = plant(
        tmp_path,
        "toy.xml",
        physics={"timestep": 0.004, "integrator": "Euler", "iterations": 7, "ls_iterations": 8},
        joints={
            "armature": {".*_knee": 0.02, "FL_knee": 0.03},
            "damping": {".*": 0.4},
            "frictionloss": 0.1,
            "effort_limit": {"FL_.*": 3.0},
        },
        contacts=[{"geoms": ["F._foot"], "friction": 0.25, "condim": 6, "priority": 2}],
    )
    model = robot.model
    assert (model.opt.timestep, model.opt.integrator) == (0.004, 0)
    assert (model.opt.iterations, model.opt.ls_iterations) == (7, 8)
    of = {name: model.joint(name) for name in TOY_JOINTS}
    assert [of[name].armature[0] for name in TOY_JOINTS[:4]] == [0.005, 0.03, 0.005, 0.02]
    assert of["RR_hip"].damping[0] == 0.4
    assert of["RR_hip"].frictionloss[0] == 0.1
    geom = model.geom("FR_foot")
    assert (geom.friction[0], geom.condim[0], geom.priority[0]) == (0.25, 6, 2)
    assert model.geom("RR_foot").friction[0] == 1.0
    robot.command("effort", ["FL_hip", "FR_hip"], np.array([9.0, 9.0]))
    robot.advance(1)
    assert robot.read.joint_efforts[[0, 2]] == pytest.approx([3.0, 9.0])
