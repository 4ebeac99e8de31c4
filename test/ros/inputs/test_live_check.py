"""`check --live` against a graph in this process: faults are reported, a good graph passes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from runner_rig import JOINTS, Peer, spec, write_parameters, write_policy
from text_policy import write_text_policy

pytestmark = [
    pytest.mark.skipif(find_spec("rclpy") is None, reason="ROS 2 is not installed"),
    pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the model of these tests"),
]
KINDS = ("position", "velocity")
NAMES = iter(f"/live_{k}" for k in range(100))


@pytest.fixture
def namespace() -> str:
    """A separate namespace for each test."""
    return next(NAMES)


@pytest.fixture
def peer(namespace: str) -> Iterator[Peer]:
    """All other nodes of that graph."""
    import rclpy
    from rclpy.context import Context
    from rclpy.signals import SignalHandlerOptions

    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    made = Peer(context, namespace)
    yield made
    made.close()
    rclpy.shutdown(context=context)


def check(path: Path, namespace: str, *options: str) -> int:
    from policy_runner.cli.main import main

    words = ["check", str(path), "--live", "--wait", "1.5", "--namespace", namespace]
    return main([*words, *options])


def test_a_graph_that_fits_passes_and_its_rates_are_said(
    peer: Peer, namespace: str, tmp_path: Path, capsys: Any
) -> None:
    from sensor_msgs.msg import JointState

    peer.hear(JointState, "joint_commands")
    peer.publisher(JointState, "joint_states")
    peer.command(0.0, 0.0)  # creates its publisher
    peer.feed(100.0)
    assert check(write_policy(tmp_path), namespace) == 0
    said = capsys.readouterr().out
    (rate,) = re.findall(r"joints ([0-9.]+) Hz", said)
    assert 20.0 < float(rate) < 150.0  # 100 Hz on a machine that is not busy
    assert "already commanded" not in said
    assert "no node subscribes" not in said


def test_without_publishers_each_input_is_named(
    namespace: str, tmp_path: Path, capsys: Any
) -> None:
    assert check(write_policy(tmp_path), namespace) == 1
    said = capsys.readouterr()
    assert (
        f"inputs.joints: expected messages of sensor_msgs/msg/JointState on {namespace}" in said.err
    )
    assert f"got no publisher on {namespace}/joint_states" in said.err
    assert "inputs.command" not in said.err  # a missing command counts as zero


def test_a_topic_of_another_type_is_named(
    peer: Peer, namespace: str, tmp_path: Path, capsys: Any
) -> None:
    from sensor_msgs.msg import Imu

    peer.publisher(Imu, "joint_states")
    assert check(write_policy(tmp_path), namespace) == 1
    said = capsys.readouterr().err
    assert "carries sensor_msgs/msg/Imu, expected sensor_msgs/msg/JointState" in said


def test_an_incompatible_qos_is_named(
    peer: Peer, namespace: str, tmp_path: Path, capsys: Any
) -> None:
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import JointState

    best_effort = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
    peer.publisher(JointState, "joint_states", best_effort)
    peer.feed()
    params = write_parameters(
        tmp_path / "params.yaml", lockstep=True, use_sim_time=True
    )  # lockstep accepts no lossy publisher
    assert check(write_policy(tmp_path), namespace, "--params", str(params)) == 1
    assert f"incompatible QoS on {namespace}/joint_states" in capsys.readouterr().err


def test_a_joint_that_is_never_seen_is_named(
    peer: Peer, namespace: str, tmp_path: Path, capsys: Any
) -> None:
    peer.feed()
    params = write_parameters(tmp_path / "params.yaml", joints__left_joint__name="wheel_left")
    assert check(write_policy(tmp_path), namespace, "--params", str(params)) == 1
    said = capsys.readouterr().err
    assert "never seen: velocity of left_joint;" in said
    assert "joints.<policy name>.name" in said


def test_an_input_slower_than_its_max_age_is_named(
    peer: Peer, namespace: str, tmp_path: Path, capsys: Any
) -> None:
    peer.feed(5.0)
    assert check(write_policy(tmp_path), namespace) == 1
    assert "expected a message at least every 0.1 s (max_age)" in capsys.readouterr().err


def test_an_input_slower_than_the_policy_is_only_said(
    peer: Peer, namespace: str, tmp_path: Path, capsys: Any
) -> None:
    peer.feed(20.0)
    assert check(write_policy(tmp_path), namespace) == 0
    assert "and the policy infers at 50 Hz" in capsys.readouterr().out


def test_each_kind_of_command_has_its_topic(
    peer: Peer, namespace: str, tmp_path: Path, capsys: Any
) -> None:
    from sensor_msgs.msg import JointState

    left, right = ({"kind": kind, "joints": [joint]} for kind, joint in zip(KINDS, JOINTS))
    action = [
        {"tensor": "actions", "groups": [{**left, "relative_to": "default_joint_pos"}, right]}
    ]
    default = dict.fromkeys(JOINTS, 0.0)
    peer.hear(JointState, "joint_commands/position")
    peer.feed(100.0)
    path = write_policy(tmp_path, action=action, default_joint_pos=default)
    assert check(path, namespace) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{namespace}/joint_commands/velocity: no node subscribes to it" in said
    assert "joint_commands/position: no node" not in said
    assert "joint_commands: no node" not in said


def test_another_topic_and_another_commander_are_seen(
    peer: Peer, namespace: str, tmp_path: Path, capsys: Any
) -> None:
    from sensor_msgs.msg import JointState

    peer.publisher(JointState, "joint_commands")
    peer.feed(100.0, "elsewhere")
    path = write_policy(tmp_path)
    assert check(path, namespace, "--topic", "joints=elsewhere") == 0
    said = capsys.readouterr().out
    assert f"{namespace}/joint_commands: already commanded by {namespace}/peer" in said
    assert f"{namespace}/joint_commands: no node subscribes to it" in said
    assert check(path, namespace, "--topic", "joint=elsewhere") == 1
    assert "--topic joint: expected an input (joints, command)" in capsys.readouterr().err


def test_other_participants_are_named(
    peer: Peer, namespace: str, tmp_path: Path, capsys: Any
) -> None:
    """Two publishers of one joint, a command of another type, and a command that is too rare."""
    from geometry_msgs.msg import Twist
    from sensor_msgs.msg import JointState

    zeros = JointState(name=["left_joint", "right_joint"], velocity=[0.0, 0.0])
    peer.feed(100.0)
    other = peer.node.create_publisher(JointState, "joint_states", 10)
    twist = peer.publisher(Twist, "cmd_vel")
    timers = [
        peer.node.create_timer(0.02, lambda: other.publish(zeros)),
        peer.node.create_timer(0.7, lambda: twist.publish(Twist())),
    ]
    path = write_policy(tmp_path)
    assert check(path, namespace) == 1
    expected = "set inputs.command.type: geometry_msgs/msg/Twist"
    assert expected in capsys.readouterr().err
    params = write_parameters(tmp_path / "p.yaml", inputs__command__type="geometry_msgs/msg/Twist")
    assert check(path, namespace, "--params", str(params), "--wait", "4") == 0
    said = capsys.readouterr().out
    assert f"two publishers of {namespace}/joint_states send left_joint, right_joint" in said
    assert f"({namespace}/peer)" in said
    assert "inputs.command: a message every 0.7 s, more slowly than its max_age of 0.5 s" in said
    for timer in timers:
        peer.node.destroy_timer(timer)


def test_a_quaternion_in_another_order_is_named(
    peer: Peer, namespace: str, tmp_path: Path, capsys: Any
) -> None:
    from sensor_msgs.msg import Imu

    given = spec()
    given["inputs"] = {"imu": {"type": "sensor_msgs/msg/Imu", "topic": "imu"}}
    given["observation"][0]["terms"] = [
        {"term": "projected_gravity", "input": "imu"},
        {"term": "field", "input": "imu", "field": "angular_velocity.z"},
    ]
    path = write_policy(tmp_path, inputs=given["inputs"], observation=given["observation"])
    message = Imu()
    message.orientation.w, message.orientation.x = 0.0, 1.0  # upright, written as w, x, y, z
    message.linear_acceleration.z = 9.81
    timer = peer.node.create_timer(0.005, lambda: peer.publisher(Imu, "imu").publish(message))
    said = ""
    try:
        assert check(path, namespace) == 0
        said = capsys.readouterr().out
    finally:
        peer.node.destroy_timer(timer)
    assert "inputs.imu: at rest the quaternion is 180 degrees off the accelerometer" in said
    assert "it fits as w, x, y, z" in said


def test_a_private_topic_is_that_of_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    from policy_runner.ros.inputs import live_check

    heard: list[Any] = []

    def listen(_pipeline: Any, _lockstep: bool, topics: Any, *_rest: Any) -> Any:
        heard.append(dict(topics))
        return live_check.LiveFindings()

    monkeypatch.setattr(live_check, "compare_with_graph", listen)
    path = write_text_policy(tmp_path)
    assert check(path, "/lab", "--name", "walker") == 0
    assert check(path, "/lab", "--topic", "prompt=~/task") == 0
    assert [one["prompt"] for one in heard] == ["/lab/walker/prompt", "/lab/policy_runner/task"]
    assert [one["joints"] for one in heard] == ["joint_states"] * 2
