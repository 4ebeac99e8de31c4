"""Other participants of the graph, and the log of all events (docs/reference/faults.md)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
GraphMaker = Callable[..., FaultGraph]
JOINED_WITHIN_S = 2.5  # 2 s after its discovery


class Newcomer:
    """Another node in the graph, which publishes at 50 Hz until it leaves."""

    def __init__(self, graph: FaultGraph, name: str) -> None:
        import rclpy
        from runner_rig import Served

        # A separate context: one participant cannot have two types on one topic.
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        node = rclpy.create_node(name, context=self.context, namespace=graph.space)
        self.served = Served(node)

    def publish(self, message: Any, topic: str, period_s: float = 0.02) -> None:
        publisher = self.served.node.create_publisher(type(message), topic, 10)
        self.served.node.create_timer(period_s, lambda: publisher.publish(message))

    def leave(self) -> None:
        self.served.close()
        self.context.try_shutdown()


@pytest.fixture
def newcomer(robot: FaultGraph) -> Iterator[Newcomer]:
    """Joins the shared graph and leaves it at the end of the test."""
    robot.well()
    made = Newcomer(robot, "newcomer")
    yield made
    made.leave()
    begin = time.monotonic()
    robot.wait(
        lambda: [s for at, p, s in robot.told if at > begin and p == "inputs" and s.level == b"\0"],
        15.0,
        "inputs without a warning",
    )


def told_in_time(graph: FaultGraph, fault: str, cause: Callable[[], object]) -> None:
    """Check the row's sentence in diagnostics within 2 s and in the log; the runner still runs."""
    row = FAULTS[fault]
    begin = time.monotonic()
    cause()
    graph.await_status(begin, row, JOINED_WITHIN_S)
    graph.wait(lambda: row.says in graph.child.stderr, 2.0, "a line in the log")
    graph.remains(row, begin, 1.0)


def test_a_second_commander(robot: FaultGraph, newcomer: Newcomer) -> None:
    from sensor_msgs.msg import JointState

    message = JointState(name=["left_joint", "right_joint"], velocity=[0.0, 0.0])
    row = FAULTS["second commander"]
    begin = time.monotonic()
    newcomer.publish(message, "joint_commands", 0.5)
    robot.await_status(begin, row, JOINED_WITHIN_S)
    sentence = f"joint_commands is published by {robot.space}/newcomer, too"
    robot.wait(lambda: sentence in robot.child.stderr, 2.0, "a line in the log")
    assert not [b for at, b in robot.beats if at > begin and b["decision"] != "RUN"]
    answer = robot.peer.trigger("arm")
    assert not answer.success
    assert sentence in answer.message


def test_a_second_commander_that_stops(fault_graphs: GraphMaker) -> None:
    from sensor_msgs.msg import JointState

    graph = fault_graphs(safety__second_commander="safe_stop")
    graph.well()
    guard = Newcomer(graph, "policy_runner_guard")
    guard.publish(JointState(), "joint_commands", 30.0)
    time.sleep(1.5)
    assert graph.decision == "RUN"  # a guard is not a second commander
    other = Newcomer(graph, "other")
    graph.shows(
        "second commander, not allowed",
        lambda: other.publish(JointState(), "joint_commands", 30.0),
        lambda: (other.leave(), time.sleep(1.0)),
    )
    guard.leave()


def test_a_second_publisher_of_one_source(robot: FaultGraph, newcomer: Newcomer) -> None:
    from sensor_msgs.msg import Imu

    upright = Imu()
    upright.orientation.w = 1.0
    stamp = time.time_ns()
    upright.header.stamp.sec, upright.header.stamp.nanosec = divmod(stamp, 10**9)
    told_in_time(robot, "second publisher of an Imu", lambda: newcomer.publish(upright, "imu", 5.0))


def test_a_joint_from_two_publishers(robot: FaultGraph, newcomer: Newcomer) -> None:
    from sensor_msgs.msg import JointState

    newcomer.publish(JointState(name=["gripper"], velocity=[0.5]), "joint_states")
    time.sleep(2.0)
    assert "two publishers" not in robot.child.stderr  # another joint is normal
    same = JointState(name=["right_joint", "left_joint"], velocity=[-2.0, 1.0])
    told_in_time(robot, "joint from two publishers", lambda: newcomer.publish(same, "joint_states"))


def test_a_command_of_another_type(robot: FaultGraph, newcomer: Newcomer) -> None:
    from geometry_msgs.msg import Twist

    told_in_time(robot, "command of another type", lambda: newcomer.publish(Twist(), "cmd_vel"))


def test_a_command_that_comes_too_rarely(fault_graphs: GraphMaker) -> None:
    from geometry_msgs.msg import TwistStamped

    graph = fault_graphs(silent={"command"}, safety__stamp_tolerance=60.0)
    graph.well()
    teleop = Newcomer(graph, "teleop")
    row = FAULTS["command slower than its max_age"]
    begin = time.monotonic()
    teleop.publish(TwistStamped(), "cmd_vel", 0.8)
    graph.await_status(begin, row, 6.0)
    graph.wait(lambda: row.says in graph.child.stderr, 2.0, "a line in the log")
    assert graph.decision == "RUN"
    teleop.leave()


def test_half_a_robot_falls_silent(robot: FaultGraph) -> None:
    def drop(message: Any) -> None:
        if type(message).__name__ == "JointState":
            del message.name[2:], message.velocity[2:]

    robot.shows(
        "half the joints fall silent",
        lambda: setattr(robot, "spoil", drop),
        lambda: setattr(robot, "spoil", None),
    )


def test_the_log_tells_the_story(robot: FaultGraph) -> None:
    """Each change, each request and each refusal gives one line within a second."""
    from rcl_interfaces.msg import Log

    row = FAULTS["what happens is in the log"]
    lines: list[str] = []
    subscription = robot.peer.node.create_subscription(
        Log, "/rosout", lambda m: lines.append(m.msg) if "fault" in m.name else None, 100
    )
    robot.well()
    wait_until(lambda: robot.peer.node.count_publishers("/rosout"))
    time.sleep(1.0)
    lines.clear()

    def said(text: str) -> None:
        robot.wait(lambda: any(line.startswith(text) for line in lines), 2.0, text)

    robot.silent.add("imu")
    said("HOLD: input too old: imu: ")
    robot.silent.clear()
    said("RUN again, after HOLD: input too old")
    assert robot.peer.trigger("disarm").success
    said("~/disarm: disarmed")
    said("SAFE_STOP: disarmed")
    robot.silent.add("imu")
    time.sleep(0.5)
    assert not robot.peer.trigger("arm").success
    said("~/arm: not armed: input too old: imu: ")
    robot.silent.clear()
    time.sleep(0.3)
    assert robot.peer.trigger("arm").success
    said("~/arm: armed")
    said("RUN again, after SAFE_STOP: disarmed")
    robot.peer.node.destroy_subscription(subscription)
    assert row.decision == robot.decision


def test_transitions_that_are_not_allowed(robot: FaultGraph) -> None:
    def cause() -> None:
        for _ in range(12):
            robot.ask("change_state", activate=True)

    robot.shows("transition not allowed, twelve times", cause)
    # Ours; from Kilted on, rclpy refuses without an exception and logs it itself.
    said = ("does not allow", "Unable to start transition")
    robot.wait(lambda: any(one in robot.child.stderr for one in said), 2.0, "a line in the log")
