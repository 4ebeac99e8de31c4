"""Faults of the inputs' arrival: silence, floods, other QoS (docs/reference/faults.md)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from children import Nursery
from ending_rig import quick_discovery
from fault_rig import PERIOD_S, FaultGraph
from fault_rig import fault_graphs as fault_graphs
from fault_rig import nursery as nursery
from fault_rig import robot as robot
from fault_rig import shared as shared
from fault_table import FAULTS
from text_policy import write_text_policy

from policy_runner.robot.load import load_policy

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
FLOOD = str(Path(__file__).resolve().parents[1] / "rigs" / "programs" / "fault_flood.py")


def test_input_stops_and_returns(robot: FaultGraph) -> None:
    values = robot.shows(
        "input stops", lambda: robot.silent.add("joints"), lambda: robot.silent.remove("joints")
    )
    assert int(values["holds"]) >= 1


def test_cmd_vel_silent(robot: FaultGraph) -> None:
    robot.well()
    since = time.monotonic()
    robot.silent.add("command")
    time.sleep(0.5)  # longer than its max_age: it then counts as zero
    robot.shows("cmd_vel silent", lambda: None, robot.silent.clear)
    assert not [b for at, b in robot.beats if at > since and b["decision"] != "RUN"]


def test_input_at_5_khz(robot: FaultGraph, spawn: Nursery, tmp_path: Path) -> None:
    robot.well()
    argv = ["python", FLOOD, f"{robot.space}/joint_states", "5000", "2.5"]
    flood = spawn(argv, env=quick_discovery(tmp_path))
    robot.wait(lambda: "publishing" in flood.stdout, 15.0, "the flood")
    values = robot.shows("input at 5 kHz", lambda: None)
    assert float(values["limit hits"]) >= 0
    rate = float(robot.values("inputs")["joints rate [Hz]"])
    assert rate > 2 / PERIOD_S, "the flood was not heard"
    assert flood.wait(15.0) == 0
    sent = float(flood.stdout.split()[-1])
    assert sent > 2500, f"{sent:g} Hz: not a flood"


@pytest.mark.parametrize("kind", ["best effort", "transient local"])
def test_publisher_with_another_qos(robot: FaultGraph, kind: str) -> None:
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import JointState

    qos = QoSProfile(depth=1)
    if kind == "best effort":
        qos.reliability = ReliabilityPolicy.BEST_EFFORT
    else:
        qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
    other = robot.peer.node.create_publisher(JointState, "joint_states", qos)
    robot.well()
    usual = robot.peer.publisher(JointState, "joint_states")
    robot.peer._publishers["joint_states"] = other  # from now on only this one sends
    time.sleep(0.5)
    try:
        robot.shows("publisher with another QoS", lambda: None)
        robot.velocity = [3.0, 2.0]
        robot.await_commands(robot.wanted, time.monotonic())
    finally:
        robot.peer._publishers["joint_states"] = usual
        robot.peer.node.destroy_publisher(other)


def test_receiver_with_another_qos(robot: FaultGraph) -> None:
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from sensor_msgs.msg import JointState

    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node = robot.peer.node
    made: list[Any] = []

    def cause() -> None:
        made.append(node.create_subscription(JointState, "joint_commands", print, qos))

    try:
        robot.shows("receiver with another QoS", cause)
    finally:
        node.destroy_subscription(made[0])
    begin = time.monotonic()
    robot.await_status(begin, dataclasses.replace(FAULTS["cmd_vel silent"], fault="well again"))


def test_what_never_came_has_its_reason(fault_graphs: Callable[..., FaultGraph]) -> None:
    from sensor_msgs.msg import Imu

    graph = fault_graphs(silent={"joints", "imu", "command"})
    graph.starts("no publisher")
    other = graph.peer.node.create_publisher(Imu, "joint_states", 10)
    graph.starts("publisher of another type")
    graph.peer.node.destroy_publisher(other)
    graph.spoil = _without_the_left_joint
    graph.silent.remove("joints")
    graph.starts("joint never seen")
    graph.spoil = None
    graph.silent.clear()
    graph.well()


def _without_the_left_joint(message: Any) -> None:
    if hasattr(message, "effort"):
        message.name, message.velocity = message.name[:2], message.velocity[:2]


def test_a_text_that_is_missing_empty_or_unusable(tmp_path: Path) -> None:
    """In this process; `test_prompt.py` has the topic and the parameter in a graph."""
    loaded = load_policy(write_text_policy(tmp_path))
    pipeline, slot = loaded.pipeline, loaded.pipeline.slots["prompt"]
    assert slot.text is not None
    now_ns = 0

    def step(seconds: float = 0.0) -> tuple[str, str]:
        nonlocal now_ns
        for _ in range(1 + round(seconds / PERIOD_S)):
            now_ns += round(PERIOD_S * 1e9)
            names = ["left_joint", "right_joint"]
            loaded.feed("joints", {"name": names, "velocity": [1.0, 2.0]}, now_ns)
            pipeline.step(now_ns)
        return pipeline.safety.decision.name, pipeline.safety.reason.value

    row = FAULTS["no prompt"]
    assert step() == (row.decision, row.reason)
    assert row.says in slot.missing()
    slot.text("go")
    assert step() == ("RUN", "none")
    row = FAULTS["empty prompt"]
    slot.text("")
    assert step() == (row.decision, row.reason)
    assert row.says in slot.missing()
    slot.text("go")
    assert step(row.recovers_s) == ("RUN", "none")
    row = FAULTS["unusable prompt"]
    for bad in ("x" * 17, "a\0", b"\xff"):
        fault = slot.text(bad)
        slot.refused(fault)
        assert row.says in f"prompt: {slot.fault}"
        assert step() == (row.decision, row.reason)
        assert slot.text.data == b"go"
    loaded.close()
