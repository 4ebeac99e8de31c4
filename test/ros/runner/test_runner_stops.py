"""Stops, damping, limits and the start-pose move, seen by a receiver of the commands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from children import wait_until
from runner_rig import JOINTS, Graph, GraphMaker
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
GAINS = {"stiffness": {"left_joint": 20.0, "right_joint": 30.0}, "damping": 0.5}


def positions(**keys: Any) -> dict[str, Any]:
    """A policy with position targets of twice the velocities: 4 and 2."""
    groups = [{"kind": "position", "joints": list(JOINTS)}]
    return {"action": [{"tensor": "actions", "groups": groups}], **keys}


@contextmanager
def robot(graph: Graph, at: Callable[[], list[float]]) -> Iterator[threading.Event]:
    """A robot with joints at the positions of `at`; setting the event silences it."""
    from sensor_msgs.msg import JointState

    publisher = graph.peer.publisher(JointState, "joint_states")
    ending = threading.Event()

    def work() -> None:
        while not ending.wait(0.01):
            publisher.publish(JointState(name=list(JOINTS), position=at(), velocity=[2.0, 1.0]))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield ending
    finally:
        ending.set()
        thread.join()


def test_damping_takes_the_stiffness_out_of_the_message(graphs: GraphMaker) -> None:
    from std_msgs.msg import Float64MultiArray

    graph = graphs(
        policy=positions(**GAINS),
        command__type="float64_multi_array",
        command__layout=["position", "stiffness", "damping"],
        stop__position="damping",
        safety__hold_recover=0.0,
    )
    commands = graph.peer.hear(Float64MultiArray, "joint_commands", 200)

    def newest() -> list[float]:
        return list(commands[-1][1].data) if commands else []

    with robot(graph, lambda: [0.0, 0.0]):
        graph.activate()
        wait_until(lambda: newest() == [4.0, 20.0, 0.5, 2.0, 30.0, 0.5], what="gains of training")
    wait_until(lambda: newest() == [4.0, 0.0, 0.5, 2.0, 0.0, 0.5], what="a damped command")
    with robot(graph, lambda: [0.0, 0.0]):
        wait_until(lambda: newest() == [4.0, 20.0, 0.5, 2.0, 30.0, 0.5], what="stiffness again")


def test_gains_in_the_fields_of_any_message(graphs: GraphMaker) -> None:
    from std_msgs.msg import Float64MultiArray

    graph = graphs(
        policy=positions(**GAINS),
        command__type="message",
        command__message_type="std_msgs/msg/Float64MultiArray",
        command__fields=["data[0]", "data[1]"],
        command__stiffness_fields=["data[2]", "data[3]"],
        command__damping_fields=["data[4]", "data[5]"],
        stop__position="damping",
    )
    commands = graph.peer.hear(Float64MultiArray, "joint_commands", 200)
    with robot(graph, lambda: [0.0, 0.0]):
        graph.activate()
        wait_until(lambda: commands and list(commands[-1][1].data)[2:] == [20, 30, 0.5, 0.5])
    wait_until(lambda: list(commands[-1][1].data) == [4.0, 2.0, 0.0, 0.0, 0.5, 0.5])
    assert graph.peer.change("deactivate")
    assert list(commands[-1][1].data) == [4.0, 2.0, 0.0, 0.0, 0.5, 0.5]


def test_a_ramp_to_zero_set_while_it_runs_and_counted_steps(graphs: GraphMaker) -> None:
    from sensor_msgs.msg import JointState

    graph = graphs(policy={}, joints__left_joint__max_rate=20.0, joints__right_joint__max_rate=20.0)
    commands = graph.peer.hear(JointState, "joint_commands", 400)
    graph.peer.feed()
    graph.activate()
    wait_until(lambda: commands and commands[-1][1].velocity[1] == -4.0)
    assert graph.peer.set(stop__ramp_s=0.4) == []
    (reason,) = graph.peer.set(stop__velocity="hold")
    assert reason.startswith("parameter stop.velocity: expected zero, got hold; set allow_runaway")
    begun = len(commands)
    graph.peer.feeds = False
    wait_until(lambda: list(commands[-1][1].velocity) == [0.0, 0.0])
    right = [message.velocity[1] for _, message in commands[begun:]]
    down = [value for value in right if -4.0 < value < 0.0]
    assert len(down) >= 15
    assert down == sorted(down)
    assert graph.peer.set(stop__ramp_s=0.0) == []
    graph.peer.feeds = True
    wait_until(lambda: commands[-1][1].velocity[1] == -4.0)
    graph.peer.feeds = False
    wait_until(lambda: list(commands[-1][1].velocity) == [0.0, 0.0])
    pipeline = graph.node.configured.pipeline
    assert pipeline.exempt_steps.tolist() == [1, 1]
    values = graph.await_status("safety", "HOLD")
    wait_until(lambda: graph.await_status("safety", "HOLD").get("exempt steps") == "2")
    assert int(values["limit hits right_joint"]) > 5


def test_the_move_to_the_start_pose(graphs: GraphMaker) -> None:
    from sensor_msgs.msg import JointState

    graph = graphs(
        policy=positions(default_joint_pos=[1.0, -1.0]),
        start_pose__duration=0.3,
        blend_in=0.3,
    )
    commands = graph.peer.hear(JointState, "joint_commands", 400)

    def at() -> list[float]:
        return list(commands[-1][1].position) if commands else [0.0, 0.0]

    with robot(graph, at):
        graph.activate()
        graph.await_decision("STARTING", "moving to the start pose")
        graph.await_decision("RUN")
        wait_until(lambda: commands and list(commands[-1][1].position) == [4.0, 2.0])
    left = [message.position[0] for _, message in commands]
    assert left[0] < 0.05
    assert max(b - a for a, b in pairwise(left)) < 0.4
    assert any(abs(value - 1.0) < 1e-9 for value in left)


def test_armed_it_moves_and_after_an_emergency_stop_it_moves_again(graphs: GraphMaker) -> None:
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Bool

    graph = graphs(
        policy=positions(default_joint_pos=[1.0, -1.0]), start_pose__duration=0.6,
        require_arming=True, safety__hold_recover=0.0,
    )  # fmt: skip
    commands = graph.peer.hear(JointState, "joint_commands", 400)
    estop = graph.peer.publisher(Bool, "policy_runner/estop")

    def at() -> list[float]:
        return list(commands[-1][1].position) if commands else [0.0, 0.0]

    with robot(graph, at):
        graph.activate()
        graph.await_decision("STARTING", "not armed")
        assert not commands
        assert graph.peer.trigger("arm").success
        wait_until(lambda: commands and commands[-1][1].position[0] > 0.1)
        estop.publish(Bool(data=True))
        graph.await_decision("SAFE_STOP", "operator stop")
        held = at()
        assert 0.1 < held[0] < 1.0
        time.sleep(0.1)  # so that it holds for some ticks: a changed decision is reported at once
        estop.publish(Bool(data=False))
        wait_until(lambda: graph.peer.trigger("arm").success)
        graph.await_decision("RUN")
    left = [message.position[0] for _, message in commands]
    assert left.count(held[0]) > 2
    moved = left[: left.index(4.0)]
    assert moved == sorted(moved)
    assert any(abs(value - 1.0) < 1e-9 for value in moved)


def test_efforts_fade_when_asked_to(graphs: GraphMaker) -> None:
    from sensor_msgs.msg import JointState

    limited = positions(**GAINS, effort_limit=200.0)
    graph = graphs(policy=limited, command__effort_from_pd=True, stop__ramp_s=0.2)
    commands = graph.peer.hear(JointState, "joint_commands", 400)
    with robot(graph, lambda: [0.0, 0.0]):
        graph.activate()
        wait_until(lambda: commands and commands[-1][1].effort[0] == 79.0)
    wait_until(lambda: list(commands[-1][1].effort) == [0.0, 0.0])
    efforts = [message.effort[0] for _, message in commands]
    fading = efforts[efforts.index(79.0) :]
    assert fading == sorted(fading, reverse=True)
    assert len({value for value in fading if 0.0 < value < 79.0}) >= 6


@pytest.mark.skipif(find_spec("urdf_parser_py") is None, reason="urdf-parser-py is not installed")
@pytest.mark.parametrize("source", ["topic", "file"])
def test_limits_of_the_robots_description(graphs: GraphMaker, tmp_path: Path, source: str) -> None:
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from sensor_msgs.msg import JointState
    from std_msgs.msg import String

    links = "".join(f'<link name="l{k}"/>' for k in range(3))
    joints = "".join(
        f'<joint name="{name}" type="continuous"><parent link="l{k}"/><child link="l{k + 1}"/>'
        f'<axis xyz="0 0 1"/><limit velocity="{1.5 + k}" effort="1"/></joint>'
        for k, name in enumerate(JOINTS)
    )
    text = f'<robot name="r">{links}{joints}</robot>'
    path = tmp_path / "robot.urdf"
    path.write_text(text)
    graph = graphs(
        policy={},
        limits__urdf="topic" if source == "topic" else str(path),
        joints__left_joint__upper=1.0,
    )
    if source == "topic":
        assert not graph.peer.change("configure")
        qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        graph.peer.publisher(String, "robot_description", qos).publish(String(data=text))
    commands = graph.peer.hear(JointState, "joint_commands", 200)
    graph.peer.feed()
    graph.activate()
    wait_until(lambda: commands and list(commands[-1][1].velocity) == [1.0, -2.5])
    assert graph.peer.set(joints__left_joint__upper=0.5) == []
    wait_until(lambda: list(commands[-1][1].velocity) == [0.5, -2.5])
