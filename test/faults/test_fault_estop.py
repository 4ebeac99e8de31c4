"""The emergency stop's topics: short presses, publishers, sources (docs/reference/faults.md)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
from children import wait_until
from fault_rig import FaultGraph
from fault_rig import fault_graphs as fault_graphs
from fault_rig import nursery as nursery
from fault_rig import robot as robot
from fault_rig import shared as shared
from fault_table import FAULTS
from press_rig import SLOW, Presses
from test_fault_operator import presser

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
GraphMaker = Callable[..., FaultGraph]
# Presses at each rate; `make soak` does 500 in total.
PRESSES = 250 if os.environ.get("POLICY_RUNNER_SOAK_SECONDS") else 10


@pytest.mark.parametrize("rate_hz", [1000.0, 3000.0])
def test_short_presses_behind_slow_inferences(
    fault_graphs: GraphMaker, nursery: Any, rate_hz: float
) -> None:
    row = FAULTS["short press next to a publisher of false"]
    graph = fault_graphs(**SLOW)
    graph.well()
    graph.twist[2] = 1.0  # inferences of ten periods
    presses = Presses(graph, nursery, rate_hz)
    begin = time.monotonic()
    assert presses.lost(PRESSES) == []
    graph.await_status(begin, row)
    presses.end()


def other_publisher(graph: FaultGraph, name: str, topic: str, qos: Any = 10) -> tuple[Any, Any]:
    """Create a node that publishes a Bool on this topic."""
    import rclpy
    from std_msgs.msg import Bool

    node = rclpy.create_node(name, context=graph.context, namespace=graph.space)
    return node, node.create_publisher(Bool, topic, qos)


def test_a_false_of_another_publisher(robot: FaultGraph) -> None:
    from std_msgs.msg import Bool

    press = presser(robot)
    node, publisher = other_publisher(robot, "panel", f"{robot.runner}/estop")
    robot.wait(publisher.get_subscription_count, 10.0, "a second publisher")
    time.sleep(1.0)  # the runner has also seen it in the graph

    def release() -> None:
        press(False)
        for _ in range(5):
            publisher.publish(Bool(data=False))
            time.sleep(0.02)
        assert not robot.peer.trigger("arm").success  # not quiet for long enough
        time.sleep(1.0)

    robot.shows("false of another publisher", lambda: press(True), release)
    node.destroy_node()
    wait_until(lambda: robot.peer.node.count_publishers(f"{robot.runner}/estop") == 1)
    time.sleep(0.6)


def test_the_publisher_has_gone(fault_graphs: GraphMaker) -> None:
    from std_msgs.msg import Bool

    fault = "publisher of the emergency stop gone"
    graph, row = fault_graphs(), FAULTS[fault]
    node, publisher = other_publisher(graph, "pendant", f"{graph.runner}/estop")
    graph.wait(publisher.get_subscription_count, 10.0, "the emergency stop's receiver")

    def press_and_go() -> None:
        begin = time.monotonic()
        publisher.publish(Bool(data=True))
        graph.await_beat(begin, row.decision, row.reason)
        node.destroy_node()

    graph.shows(fault, press_and_go, lambda: time.sleep(1.0))


def test_two_sources(fault_graphs: GraphMaker) -> None:
    from std_msgs.msg import Bool

    graph = fault_graphs(estop__topics=["~/estop", "pendant/estop"])
    press = presser(graph)
    pendant = graph.peer.publisher(Bool, "pendant/estop")
    graph.wait(pendant.get_subscription_count, 10.0, "the second source's receiver")

    def release() -> None:
        press(False)  # false of the other source: it releases nothing
        time.sleep(0.1)
        assert "pendant/estop" in graph.peer.trigger("arm").message
        pendant.publish(Bool(data=False))
        time.sleep(0.1)

    graph.shows("press of a second source", lambda: pendant.publish(Bool(data=True)), release)


def test_a_publisher_that_cannot_be_heard(fault_graphs: GraphMaker) -> None:
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    row = FAULTS["emergency stop that cannot be heard"]
    graph = fault_graphs(require_arming=True)
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    node, _ = other_publisher(graph, "wireless", f"{graph.runner}/estop", qos)
    graph.starts("emergency stop that cannot be heard")
    graph.wait(lambda: graph.beats[-1][1]["detail"] == "call ~/arm", 10.0, "its inputs")
    answer = graph.peer.trigger("arm")
    assert not answer.success
    assert f"incompatible QoS on {graph.runner}/estop of {graph.space}/wireless" in answer.message
    node.destroy_node()
    graph.wait(lambda: graph.peer.trigger("arm").success, 5.0, "arming")
    assert row.recovers


def test_presses_while_nothing_runs(fault_graphs: GraphMaker) -> None:
    """Presses also count that came before more messages than a queue holds."""
    row = FAULTS["press while the node is not active"]
    graph = fault_graphs()
    press = presser(graph)
    graph.well()
    assert graph.peer.change("deactivate")
    press(True)
    for _ in range(2100):
        press(False)
        time.sleep(0.0005)
    begin = time.monotonic()
    assert graph.peer.change("activate")
    graph.await_beat(begin, row.decision, row.reason)
    graph.await_status(begin, row)
    time.sleep(0.3)
    assert graph.decision == row.decision
    assert graph.peer.trigger("arm").success
    graph.await_beat(begin, "RUN", "none")


def test_disarmed_outlives_deactivation(robot: FaultGraph) -> None:
    row = FAULTS["disarmed, then activated again"]
    robot.well()
    assert robot.peer.trigger("disarm").success
    assert robot.peer.change("deactivate")
    begin = time.monotonic()
    assert robot.peer.change("activate")
    robot.await_beat(begin, row.decision, row.reason)
    robot.await_status(begin, row)
    time.sleep(0.5)
    assert robot.decision == row.decision
    assert robot.peer.trigger("arm").success
    robot.await_beat(begin, "RUN", "none")
