"""Requests of an operator, and the robot's own measurements (docs/reference/faults.md)."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
from fault_rig import BOUND, TOO_FAST, FaultGraph
from fault_rig import fault_graphs as fault_graphs
from fault_rig import nursery as nursery
from fault_rig import robot as robot
from fault_rig import shared as shared
from fault_table import FAULTS

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
GraphMaker = Callable[..., FaultGraph]


def presser(graph: FaultGraph) -> Callable[[bool], None]:
    """Return a function that presses ~/estop, once the runner receives it."""
    from std_msgs.msg import Bool

    publisher: Any = graph.peer.publisher(Bool, f"{graph.runner}/estop")
    graph.wait(lambda: publisher.get_subscription_count(), 10.0, "the emergency stop's receiver")
    return lambda pressed: publisher.publish(Bool(data=pressed))


def test_emergency_stop(robot: FaultGraph) -> None:
    press = presser(robot)

    def release() -> None:
        answer = robot.peer.trigger("arm")
        assert not answer.success
        assert "operator stop" in answer.message
        press(False)

    robot.shows("emergency stop", lambda: press(True), release)


def test_disarmed(robot: FaultGraph) -> None:
    robot.shows("disarmed", lambda: robot.peer.trigger("disarm"), lambda: None)


def test_not_armed(fault_graphs: GraphMaker) -> None:
    graph = fault_graphs(require_arming=True)
    row = FAULTS["not armed"]
    graph.starts("not armed")
    graph.silent.add("imu")
    time.sleep(0.5)
    answer = graph.peer.trigger("arm")
    assert not answer.success
    assert "imu" in answer.message
    graph.silent.clear()
    time.sleep(0.2)
    graph.recovers(row)


def test_joint_too_fast(robot: FaultGraph) -> None:
    def turn(speed: float) -> Callable[[], None]:
        return lambda: robot.velocity.__setitem__(0, speed)

    robot.shows("joint too fast", turn(TOO_FAST + 10.0), turn(1.0))


def test_where_positions_are_commanded(fault_graphs: GraphMaker) -> None:
    graph = fault_graphs(kind="position", safety__position_margin=0.5)
    graph.shows(
        "input stops, positions commanded",
        lambda: graph.silent.add("joints"),
        lambda: graph.silent.remove("joints"),
    )

    def move(position: float) -> Callable[[], None]:
        return lambda: graph.position.__setitem__(0, position)

    def back() -> None:
        answer = graph.peer.trigger("arm")
        assert not answer.success
        assert "left_joint" in answer.message
        move(0.1)()

    graph.shows("joint outside its limits", move(BOUND + 1.0), back)
