"""Wheel commands by name: the order never matters; errors are counted and named."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    find_spec("mujoco") is None, reason="the simulated robot needs mujoco"
)


@pytest.fixture
def wheels() -> Any:
    from policy_runner.ros.simulated_robot.topics import WheelCommands

    return WheelCommands()


def test_targets_go_by_name_whatever_the_order(wheels: Any) -> None:
    assert wheels.read(["left_wheel_joint", "right_wheel_joint"], [1.0, -2.0]) == [1.0, -2.0]
    assert wheels.read(["right_wheel_joint", "left_wheel_joint"], [-2.0, 1.0]) == [1.0, -2.0]
    assert (wheels.ignored, wheels.problem) == (0, "")


def test_an_unknown_name_is_ignored_and_counted(wheels: Any) -> None:
    names = ["left_wheel_joint", "arm_joint", "right_wheel_joint"]
    assert wheels.read(names, [1.0, 9.0, -1.0]) == [1.0, -1.0]
    assert wheels.ignored == 1
    assert wheels.problem == (
        "joint command: unknown joint 'arm_joint', expected left_wheel_joint and right_wheel_joint"
    )


def test_a_missing_wheel_keeps_its_target_and_is_counted(wheels: Any) -> None:
    wheels.read(["left_wheel_joint", "right_wheel_joint"], [1.0, -2.0])
    assert wheels.read(["left_wheel_joint"], [3.0]) == [3.0, -2.0]
    assert wheels.ignored == 1
    assert wheels.problem == "joint command: no velocity for right_wheel_joint"


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
    assert wheels.read(names, velocities) is None
    assert wheels.ignored >= 1
    assert reason in wheels.problem


def test_what_is_not_finite_never_reaches_a_motor(wheels: Any) -> None:
    names = ["left_wheel_joint", "right_wheel_joint"]
    assert wheels.read(names, [math.nan, math.inf]) is None
    assert wheels.read(names, [1.0, math.nan]) == [1.0, 0.0]
    assert wheels.ignored == 3
    assert "expected a finite number" in wheels.problem
