"""Commands of every kind reach the right actuators, with the right gains, gear and delay."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sim_rig import TOY_JOINTS, plant

from policy_runner.core.errors import Refusal

pytestmark = pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed")

ARM = ["turn", "lift", "bend"]
GAINS = {"stiffness": 60.0, "damping": 4.0}
SLIDER = """<mujoco><option gravity="0 0 0" timestep="0.001" integrator="implicitfast"/><worldbody>
<body name="cart"><joint name="slide" type="slide" axis="1 0 0" armature="0.5"/>
<geom size="0.1" mass="1"/></body></worldbody><actuator>%s</actuator></mujoco>"""


def arm(folder: Path, **keys: Any) -> Any:
    return plant(folder, "arm.xml", physics={"gravity": [0, 0, 0]}, **keys)


def test_a_position_is_reached_whatever_the_order_of_the_names(tmp_path: Path) -> None:
    robot = arm(tmp_path, actuators=GAINS)
    robot.command("position", ["bend", "turn", "lift"], np.array([0.3, -0.4, 0.2]))
    robot.advance(2000)
    assert robot.read.joint_positions == pytest.approx([-0.4, 0.2, 0.3], abs=1e-3)


def test_a_velocity_is_held_and_an_effort_accelerates(tmp_path: Path) -> None:
    robot = plant(tmp_path / "v", "slide.xml", SLIDER % "", actuators=GAINS)
    robot.command("velocity", ["slide"], np.array([0.7]))
    robot.advance(3000)
    assert robot.read.joint_velocities[0] == pytest.approx(0.7, rel=1e-3)
    robot.reset()
    robot.command("effort", ["slide"], np.array([3.0]))
    robot.advance(1000)
    assert robot.read.joint_velocities[0] == pytest.approx(3.0 / 1.5, rel=1e-6)
    assert robot.read.joint_efforts[0] == pytest.approx(3.0)


@pytest.mark.parametrize("gear", [1.0, -7.0])
def test_an_effort_is_divided_by_the_gear(tmp_path: Path, gear: float) -> None:
    robot = plant(tmp_path, "s.xml", SLIDER % f'<motor joint="slide" gear="{gear}"/>')
    robot.command("effort", ["slide"], np.array([3.0]))
    robot.advance(1000)
    assert robot.data.ctrl[0] == pytest.approx(3.0 / gear)
    assert robot.read.joint_velocities[0] == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize("gear", [30.0, 90.0, 150.0])
def test_the_control_of_a_trainer_times_the_gear_is_the_same_float_again(
    tmp_path: Path, gear: float
) -> None:
    # gymnasium's environments are given controls. Their networks give float32.
    robot = plant(tmp_path, "s.xml", SLIDER % f'<motor joint="slide" gear="{gear}"/>')
    for control in np.random.default_rng(0).uniform(-1, 1, 50).astype(np.float32).tolist():
        robot.command("effort", ["slide"], np.array([control * gear]))
        robot.advance(1)
        assert robot.data.ctrl[0] == control


def test_a_motor_with_a_gear_moves_like_an_own_actuator(tmp_path: Path) -> None:
    # Start at rest with gains known: the own actuator holds the start position, the motor is free.
    text = SLIDER % '<motor joint="slide" gear="-7" ctrlrange="-1 1"/>'
    motor = plant(tmp_path / "a", "s.xml", text, actuators=GAINS)
    own = plant(tmp_path / "b", "s.xml", SLIDER % "", actuators=GAINS, joints={"effort_limit": 7.0})
    for kind, value in (("position", 0.5), ("velocity", -0.2), ("position", 0.01)):
        for one in (motor, own):
            one.command(kind, ["slide"], np.array([value]))
            one.advance(400)
        assert motor.read.joint_positions == pytest.approx(own.read.joint_positions, abs=1e-9)
    assert abs(own.data.actuator_force[0]) <= 7.0


def test_the_force_limit_of_an_own_actuator_holds(tmp_path: Path) -> None:
    robot = plant(tmp_path, "s.xml", SLIDER % "", joints={"effort_limit": 2.0})
    robot.command("effort", ["slide"], np.array([50.0]))
    robot.advance(10)
    assert robot.read.joint_efforts[0] == pytest.approx(2.0)


def test_unnamed_actuators_are_found_by_their_joint(tmp_path: Path) -> None:
    robot = plant(tmp_path, "toy.xml", start={"keyframe": "home"})
    robot.command("effort", TOY_JOINTS, np.arange(8.0))
    robot.advance(1)
    assert robot.data.qfrc_actuator[6:] == pytest.approx(np.arange(8.0))


def test_a_servo_takes_only_its_kind_and_an_own_actuator_replaces_it(tmp_path: Path) -> None:
    servo = SLIDER % '<velocity joint="slide" kv="5"/>'
    robot = plant(tmp_path / "a", "s.xml", servo)
    with pytest.raises(Refusal, match=r"slide: expected velocity commands.*got effort; .*own"):
        robot.command("effort", ["slide"], np.array([1.0]))
    robot = plant(tmp_path / "b", "s.xml", servo, actuators={"source": "own"})
    robot.command("effort", ["slide"], np.array([1.0]))
    robot.advance(1)
    assert robot.read.joint_efforts[0] == pytest.approx(1.0)


def test_the_files_servo_keeps_its_gains_unless_the_robot_file_states_some(tmp_path: Path) -> None:
    servo = SLIDER % '<position joint="slide" kp="10" kv="3"/>'
    ends = []
    for name, keys in (("a", {}), ("b", {"actuators": GAINS})):
        robot = plant(tmp_path / name, "s.xml", servo, **keys)
        robot.command("position", ["slide"], np.array([1.0]))
        robot.advance(1)
        ends.append(robot.read.joint_efforts[0])
    assert ends == pytest.approx([10.0, 60.0], rel=0.02)


def test_commands_without_gains_or_without_actuators_are_refused(tmp_path: Path) -> None:
    robot = arm(tmp_path)
    with pytest.raises(Refusal, match="joint turn: expected stiffness and damping for position"):
        robot.command("position", ARM, np.zeros(3))
    with pytest.raises(Refusal, match=r"\(turn, lift, bend\), got elbow among the commanded"):
        robot.command("effort", ["turn", "elbow"], np.zeros(2))
    with pytest.raises(Refusal, match="twist: expected the key `twist`"):
        robot.command("twist", ["linear.x"], np.zeros(1))
    with pytest.raises(ValueError, match="3 finite numbers"):
        robot.command("effort", ARM, np.array([0.0, np.nan, 0.0]))


def test_gains_of_the_policy_yield_to_those_of_the_robot_file(tmp_path: Path) -> None:
    keys = {"actuators": {"stiffness": {"lift": 60.0}, "damping": {"lift": 4.0}}}
    robot = arm(tmp_path, **keys)
    robot.set_gains({"lift": (1.0, 1.0), "bend": (7.0, 1.0), "turn": (3.0, 1.0)})
    robot.command("position", ARM, np.array([0.1, 0.1, 0.1]))
    robot.advance(1)
    assert robot.read.joint_efforts == pytest.approx([0.3, 6.0, 0.7])


def test_a_softened_position_has_damping_alone(tmp_path: Path) -> None:
    robot = plant(tmp_path, "s.xml", SLIDER % "", actuators=GAINS)
    robot.command("position", ["slide"], np.array([1.0]))
    robot.advance(50)
    robot.soften(True)
    speed = robot.read.joint_velocities[0]
    robot.advance(1)
    assert robot.read.joint_efforts[0] == pytest.approx(-4.0 * speed, rel=0.01)
    robot.soften(False)
    robot.advance(1)
    assert robot.read.joint_efforts[0] > 30.0


def test_a_command_arrives_after_the_delay(tmp_path: Path) -> None:
    robot = plant(tmp_path, "s.xml", SLIDER % "")
    robot.set_delay(0.005)
    robot.command("effort", ["slide"], np.array([1.0]))
    robot.advance(5)
    assert robot.read.joint_velocities[0] == 0.0
    robot.advance(1)
    assert robot.read.joint_velocities[0] > 0.0


def test_a_push_ends_after_its_duration(tmp_path: Path) -> None:
    robot = plant(tmp_path, "s.xml", SLIDER % "")
    robot.push((3.0, 0.0, 0.0), 0.5)
    robot.advance(1000)
    assert robot.read.joint_velocities[0] == pytest.approx(3.0 * 0.5 / 1.5, rel=1e-6)


def test_a_twist_turns_wheels_or_moves_the_base(tmp_path: Path) -> None:
    wheels = {"left": {"turn": 1}, "right": {"lift": -1}, "wheel_radius": 0.1, "track": 0.4}
    robot = arm(tmp_path / "d", actuators=GAINS, twist={"drive": "differential", **wheels})
    robot.command("twist", ["linear.x", "angular.z"], np.array([0.1, 0.2]))
    robot.advance(1)
    assert robot.data.ctrl[:2] == pytest.approx([(0.1 - 0.04) / 0.1, -(0.1 + 0.04) / 0.1])
    with pytest.raises(Refusal, match=r"except linear.x, angular.z, got 1 for linear.y"):
        robot.command("twist", ["linear.y"], np.array([1.0]))
    toy = plant(tmp_path / "b", "toy.xml", twist={"drive": "base"}, start={"keyframe": "home"})
    toy.command("twist", ["linear.x", "linear.y", "angular.z"], np.array([0.3, 0.0, 1.0]))
    toy.advance(1000)
    assert toy.yaw == pytest.approx(2.0, abs=0.01)
    radius = np.hypot(*(toy.read.position("trunk")[:2] - [0.0, 0.3]))
    assert radius == pytest.approx(0.3, abs=0.01)  # v / w


def test_two_runs_of_one_seed_are_equal_and_resets_forget_everything(tmp_path: Path) -> None:
    from policy_runner.sim.variation import Variation

    start = {"keyframe": "home", "joint_spread": 0.1, "tilt_spread": 0.1}
    robot = plant(tmp_path, "toy.xml", start=start, actuators={"stiffness": 20, "damping": 1})

    def run(seed: int, variation: Variation) -> bytes:
        robot.reset(seed, variation)
        robot.push((20.0, 5.0, 0.0), 0.1)
        robot.command("position", TOY_JOINTS, np.tile([0.5, -1.0], 4))
        robot.advance(300)
        return bytes(robot.data.qpos.tobytes())

    nominal, heavy = Variation(), Variation(body_mass=1.5, servo_gain=0.8, servo_torque=0.5)
    first = run(1, nominal)
    assert run(1, heavy) != first
    assert run(2, nominal) != first
    robot.command("effort", TOY_JOINTS, np.full(8, 3.0))
    robot.advance(3)
    assert run(1, nominal) == first
