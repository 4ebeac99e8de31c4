"""Faults in the bytes of messages, sent over a real graph (docs/reference/faults.md)."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
from cdr_rig import BIG, encode
from fault_rig import FaultGraph
from fault_rig import fault_graphs as fault_graphs
from fault_rig import nursery as nursery
from fault_rig import robot as robot
from fault_rig import shared as shared

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)


def _of_joints(change: Callable[[Any], bytes]) -> Callable[[Any], Any]:
    return lambda message: change(message) if hasattr(message, "effort") else message


def _big_endian(message: Any) -> bytes:
    return encode(message, BIG)


def _as_xcdr2(message: Any) -> bytes:
    return b"\0\7" + encode(message)[2:]


def _beyond_its_end(message: Any) -> bytes:
    raw = bytearray(encode(message))
    at = raw.index(b"caster\0") - 4  # the length of the first name
    raw[at : at + 4] = (2**31).to_bytes(4, "little")
    return bytes(raw)


def _cut(message: Any) -> bytes:
    return encode(message)[:-12]


def test_message_in_big_endian(robot: FaultGraph) -> None:
    def cause() -> None:
        robot.encode = _of_joints(_big_endian)

    robot.shows("message in big endian", cause)
    assert float(robot.values("inputs")["joints refused"]) == 0
    # Alternate between little and big endian, as two publishers of one topic would.
    turn = iter(range(10**9))
    robot.encode = _of_joints(lambda m: encode(m, "<>"[next(turn) % 2]))
    robot.shows("message in big endian", lambda: None)


def test_both_byte_orders_of_a_message_of_one_length(
    fault_graphs: Callable[..., FaultGraph],
) -> None:
    """A Twist contains no lengths: only the encapsulation distinguishes the two orders."""
    from geometry_msgs.msg import Twist

    graph = fault_graphs(inputs__command__type="geometry_msgs/msg/Twist", silent={"command"})
    publisher = graph.peer.node.create_publisher(Twist, "cmd_vel", 10)
    twist = Twist()
    twist.linear.x, twist.angular.z = 0.5, 0.25
    ended = threading.Event()

    def send() -> None:
        count = 0
        while not ended.wait(0.01):
            count += 1
            publisher.publish(encode(twist, "<>"[count // 5 % 2]))

    graph.await_beat(0.0, "RUN", "none", 20.0)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        begin = time.monotonic()
        graph.await_commands((2.5, -3.75), begin)
        since = time.monotonic()
        time.sleep(0.5)
        heard = {v for at, v in graph.commands if at > since}
        assert len(heard) == 1, heard
    finally:
        ended.set()
        sender.join()


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ("message of another encapsulation", _as_xcdr2),
        ("damaged message", _beyond_its_end),
        ("damaged message", _cut),
    ],
)
def test_a_message_that_cannot_be_read(
    robot: FaultGraph, fault: str, change: Callable[[Any], bytes]
) -> None:
    def cause() -> None:
        robot.encode = _of_joints(change)

    def cure() -> None:
        robot.encode = None

    robot.shows(fault, cause, cure)


def test_a_megabyte_of_joint_names(robot: FaultGraph) -> None:
    from sensor_msgs.msg import JointState

    raw = encode(JointState(name=[f"n{k:05}" for k in range(60_000)]))
    assert 700_000 < len(raw) < 1 << 20
    other = robot.peer.node.create_publisher(JointState, "joint_states", 1)
    ended = threading.Event()
    sent = []

    def send() -> None:
        while not ended.wait(0.1):
            other.publish(raw)
            sent.append(raw)

    robot.well()
    before = float(robot.values("inputs")["joints refused"])
    missed = int(robot.values("loop")["missed deadlines"])
    sender = threading.Thread(target=send)
    try:
        robot.shows("a megabyte of joint names", sender.start, watch_s=2.0)
    finally:
        ended.set()
        sender.join()
        robot.peer.node.destroy_publisher(other)
    refused = float(robot.values("inputs")["joints refused"]) - before
    assert refused > 0, "not one of them was heard"
    assert int(robot.values("loop")["missed deadlines"]) - missed <= len(sent)


def test_quaternion_as_w_x_y_z(fault_graphs: Callable[..., FaultGraph]) -> None:
    graph = fault_graphs(safety__max_tilt=0.0)

    def spoil(message: Any) -> None:
        if hasattr(message, "orientation"):
            half = math.radians(0.2) / 2
            q = message.orientation
            q.x, q.y, q.z, q.w = math.cos(half), math.sin(half), 0.0, 0.0  # w, x, y, z
            up = message.linear_acceleration
            up.y, up.z = 9.81 * math.sin(2 * half), 9.81 * math.cos(2 * half)

    def cause() -> None:
        graph.spoil = spoil

    graph.shows("quaternion as w, x, y, z", cause)
