"""Commands by name, of every message type; errors are counted and named."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    find_spec("mujoco") is None or find_spec("rclpy") is None,
    reason="the simulated robot as a node needs rclpy and mujoco",
)

WHEELS = ["left_wheel_joint", "right_wheel_joint"]


@pytest.fixture
def wheels() -> Any:
    from policy_runner.ros.simulated_robot.command_reader import CommandReader

    return CommandReader(WHEELS, WHEELS)


def read(reader: Any, names: list[str], velocities: list[float]) -> dict[str, float] | None:
    from sensor_msgs.msg import JointState

    found = reader.read(JointState(name=names, velocity=velocities), "velocity")
    if not found:
        return None
    (command,) = found
    assert command.kind == "velocity"
    return dict(zip(command.names, command.values, strict=True))


def test_targets_go_by_name_whatever_the_order(wheels: Any) -> None:
    wanted = {"left_wheel_joint": 1.0, "right_wheel_joint": -2.0}
    assert read(wheels, WHEELS, [1.0, -2.0]) == wanted
    assert read(wheels, WHEELS[::-1], [-2.0, 1.0]) == wanted
    assert (wheels.ignored, wheels.problem) == (0, "")


def test_an_unknown_name_is_ignored_and_counted(wheels: Any) -> None:
    names = ["left_wheel_joint", "arm_joint", "right_wheel_joint"]
    assert read(wheels, names, [1.0, 9.0, -1.0]) == dict(zip(WHEELS, [1.0, -1.0]))
    assert wheels.ignored == 1
    assert wheels.problem == (
        "joint command: unknown joint 'arm_joint', expected left_wheel_joint and right_wheel_joint"
    )


def test_a_missing_wheel_is_left_out_and_counted(wheels: Any) -> None:
    assert read(wheels, ["left_wheel_joint"], [3.0]) == {"left_wheel_joint": 3.0}
    assert wheels.ignored == 1
    assert wheels.problem == "joint command: no velocity for right_wheel_joint"


def test_a_wheel_that_no_command_names_keeps_its_target() -> None:
    from policy_runner.ros.simulated_robot.command_reader import SentCommand
    from policy_runner.ros.simulated_robot.worlds import ScenarioWorld

    values = {"command_delay": 0.0, "seed": 0, "commands": "none", "pushes": False, "rate": 100}
    world = ScenarioWorld(values)
    world.tick([SentCommand(0, "velocity", WHEELS, [1.0, -2.0], {})])
    world.tick([SentCommand(0, "velocity", ["left_wheel_joint"], [3.0], {})])
    assert world.plant.data.ctrl.tolist() == [3.0, -2.0]


@pytest.mark.parametrize(
    ("names", "velocities", "reason"),
    [
        ([], [], "no velocity for left_wheel_joint and right_wheel_joint"),
        (["a"], [1.0], "no velocity for left_wheel_joint and right_wheel_joint"),
        (["left_wheel_joint", "right_wheel_joint"], [1.0], "2 joint names but 1 velocities"),
        (["left_wheel_joint", "right_wheel_joint"], [], "2 joint names but 0 velocities"),
    ],
)
def test_a_command_without_a_usable_wheel_is_none(
    wheels: Any, names: list[str], velocities: list[float], reason: str
) -> None:
    assert read(wheels, names, velocities) is None
    assert wheels.ignored >= 1
    assert reason in wheels.problem


def test_what_is_not_finite_never_reaches_a_motor(wheels: Any) -> None:
    assert read(wheels, WHEELS, [math.nan, math.inf]) is None
    assert read(wheels, WHEELS, [1.0, math.nan]) == {"left_wheel_joint": 1.0}
    assert wheels.ignored == 3
    assert "expected a finite number" in wheels.problem


def test_a_trajectory_has_a_time_for_every_point() -> None:
    from builtin_interfaces.msg import Duration
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    from policy_runner.ros.simulated_robot.command_reader import CommandReader

    reader = CommandReader(["a", "b"])
    points = [
        JointTrajectoryPoint(positions=[float(k), 0.0], time_from_start=Duration(nanosec=k * 10**7))
        for k in (1, 3)
    ]
    found = reader.read(JointTrajectory(joint_names=["b", "a"], points=points), "position")
    assert [(one.kind, one.after_ns, one.values) for one in found] == [
        ("position", 0, [1.0, 0.0]),
        ("position", 20_000_000, [3.0, 0.0]),
    ]
    assert reader.read(JointTrajectory(joint_names=["a"]), "position") == []
    assert "without points" in reader.problem


def test_a_multi_array_says_its_joints_and_its_gains() -> None:
    from std_msgs.msg import Float64MultiArray, MultiArrayDimension

    from policy_runner.ros.simulated_robot.command_reader import CommandReader

    reader = CommandReader(["a", "b"])
    message = Float64MultiArray(data=[1.0, 50.0, 2.0, 3.0, 60.0, 4.0])
    message.layout.dim = [
        MultiArrayDimension(label="b,a", size=2, stride=6),
        MultiArrayDimension(label="position,stiffness,damping", size=3, stride=3),
    ]
    (found,) = reader.read(message, "position")
    assert (found.names, found.values) == (["b", "a"], [1.0, 3.0])
    assert found.gains == {"b": (50.0, 2.0), "a": (60.0, 4.0)}
    message.data.append(1.0)
    assert reader.read(message, "position") == []
    assert "7 numbers for 2 joints x 3 columns" in reader.problem


def test_twists_and_single_numbers_are_commands() -> None:
    from geometry_msgs.msg import Twist, TwistStamped
    from std_msgs.msg import Float64

    from policy_runner.ros.simulated_robot.command_reader import CommandReader

    reader = CommandReader(["a"])
    stamped = TwistStamped()
    stamped.header.stamp.sec = 3
    stamped.twist.linear.x, stamped.twist.angular.z = 0.5, -0.2
    (found,) = reader.read(stamped, "twist")
    assert (found.stamp_ns, found.kind) == (3 * 10**9, "twist")
    assert dict(zip(found.names, found.values))["angular.z"] == -0.2
    broken = Twist()
    broken.linear.x = math.nan
    assert reader.read(broken, "twist") == []
    (found,) = reader.read(Float64(data=2.0), "effort", ("a",))
    assert (found.kind, found.names, found.values) == ("effort", ["a"], [2.0])
