"""Faults in the content of messages (docs/reference/faults.md)."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
from fault_rig import BOUND, FaultGraph
from fault_rig import nursery as nursery
from fault_rig import robot as robot
from fault_rig import shared as shared
from fault_robot import ON_ITS_SIDE, UPRIGHT

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)


@pytest.mark.parametrize(
    ("fault", "value"),
    [
        ("NaN in one element", float("nan")),
        ("Inf in one element", float("inf")),
    ],
)
def test_a_value_that_is_no_number(robot: FaultGraph, fault: str, value: float) -> None:
    def cause() -> None:
        robot.velocity[1] = value

    def cure() -> None:
        robot.velocity[1] = -2.0

    robot.shows(fault, cause, cure)


def test_huge_value_in_one_element(robot: FaultGraph) -> None:
    def cause() -> None:
        robot.velocity[1] = 1e30

    values = robot.shows("huge value in one element", cause)
    assert robot.commands[-1][1] == pytest.approx((2.5, BOUND))
    assert int(values["limit hits right_joint"]) > 0


def _joint_messages(change: Callable[[Any], None]) -> Callable[[Any], None]:
    def spoil(message: Any) -> None:
        if hasattr(message, "effort"):
            change(message)

    return spoil


def _missing(message: Any) -> None:
    message.name, message.velocity = message.name[1:2], message.velocity[1:2]


def _permuted(message: Any) -> None:
    message.name = ["left_joint", "caster", "right_joint"]
    message.velocity = [message.velocity[k] for k in (2, 0, 1)]


def _twice(message: Any) -> None:
    message.name = ["right_joint", "right_joint", "left_joint"]


def _short(message: Any) -> None:
    message.velocity = message.velocity[:2]


def _empty(message: Any) -> None:
    message.position, message.velocity = message.velocity, []


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ("joint missing", _missing),
        ("joints permuted", _permuted),
        ("a name twice", _twice),
        ("array too short", _short),
        ("velocity empty", _empty),
    ],
)
def test_a_message_of_another_shape(
    robot: FaultGraph, fault: str, change: Callable[[Any], None]
) -> None:
    def cause() -> None:
        robot.spoil = _joint_messages(change)

    def cure() -> None:
        robot.spoil = None

    robot.shows(fault, cause, cure)


def test_quaternion_zero(robot: FaultGraph) -> None:
    def turn(orientation: tuple[float, ...]) -> Callable[[], None]:
        return lambda: setattr(robot, "orientation", orientation)

    robot.shows("quaternion zero", turn((0.0, 0.0, 0.0, 0.0)), turn(UPRIGHT))


def test_robot_tipped(robot: FaultGraph) -> None:
    def turn(orientation: tuple[float, ...]) -> Callable[[], None]:
        return lambda: setattr(robot, "orientation", orientation)

    robot.shows("robot tipped", turn(ON_ITS_SIDE), turn(UPRIGHT))
