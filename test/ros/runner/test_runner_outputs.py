"""The kinds of output: twists, efforts, any message; gains, vectors, prefixes, mountings."""

from __future__ import annotations

import math
import threading
from importlib.util import find_spec
from typing import Any

import pytest
from children import wait_until
from runner_rig import JOINTS, Graph, GraphMaker, spec
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)


def run(graph: Graph, message_type: Any, topic: str = "joint_commands") -> list[Any]:
    """Feed the graph until the runner runs; return the list that records its commands."""
    commands = graph.peer.hear(message_type, topic, 200)
    graph.peer.feed()
    graph.activate()
    graph.await_decision("RUN")
    wait_until(lambda: commands, what=f"a command on {topic}")
    return commands


def latched(graph: Graph, topic: str) -> Any:
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from std_msgs.msg import Float64MultiArray

    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    heard = graph.peer.hear(Float64MultiArray, topic, qos)
    wait_until(lambda: heard, what=f"a message on {topic}")
    return heard[-1][1]


def groups(kind: str, **keys: Any) -> dict[str, Any]:
    return {"action": [{"tensor": "actions", "groups": [{"kind": kind, **keys}]}]}


def test_gains_are_latched_by_the_robots_names_and_said_once(
    graphs: GraphMaker, capfd: pytest.CaptureFixture[str]
) -> None:
    gains = {"stiffness": {"left_joint": 20.0, "right_joint": 30.0}, "damping": 0.5}
    graph = graphs(policy=gains, joint_prefix="robot_", joints__right_joint__name="other")
    graph.activate()
    message = latched(graph, "policy_runner/joint_gains")
    assert list(message.data) == [20.0, 0.5, 30.0, 0.5]
    assert message.layout.dim[0].label == "robot_left_joint,other"
    assert message.layout.dim[1].label == "stiffness,damping"
    said = capfd.readouterr().err
    assert said.count("was trained with") == 1
    assert "damping 20 and 0.5 (left_joint), 30 and 0.5 (right_joint): make" in said


def test_the_very_vectors_with_their_names(graphs: GraphMaker) -> None:
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Float64MultiArray

    graph = graphs(policy={}, publish_vectors=True)
    seen = graph.peer.hear(Float64MultiArray, "policy_runner/observation", 50)
    out = graph.peer.hear(Float64MultiArray, "policy_runner/action", 50)
    run(graph, JointState)
    wait_until(lambda: seen and out, what="vectors")
    assert list(seen[-1][1].data) == [1.0, -2.0, 0.0, 0.0]
    names = seen[-1][1].layout.dim[0].label.split(",")
    assert [name.rpartition("/")[2] for name in names] == [*JOINTS, "linear.x", "angular.z"]
    assert list(out[-1][1].data) == [2.0, -4.0]
    assert out[-1][1].layout.dim[0].label == "left_joint,right_joint"


def test_nothing_is_published_of_the_vectors_unasked(graphs: GraphMaker) -> None:
    graph = graphs(policy={})
    graph.activate()
    names = {name for name, _ in graph.node.get_topic_names_and_types()}
    assert not {"/policy_runner/observation", "/policy_runner/action"} & names


@pytest.mark.parametrize("twist_type", ["twist", "twist_stamped"])
def test_a_twist_is_commanded_and_zero_when_it_holds(graphs: GraphMaker, twist_type: str) -> None:
    from geometry_msgs.msg import Twist, TwistStamped

    graph = graphs(policy=groups("twist", axes=["linear.x", "angular.z"], scale=0.5),
                   command__twist_type=twist_type)  # fmt: skip
    commands = run(graph, Twist if twist_type == "twist" else TwistStamped)

    def newest() -> tuple[float, float]:
        message = commands[-1][1]
        twist = message if twist_type == "twist" else message.twist
        return twist.linear.x, twist.angular.z

    wait_until(lambda: newest() == (1.0, -2.0))
    graph.peer.feeds = False
    graph.await_decision("HOLD", "input too old")
    wait_until(lambda: newest() == (0.0, 0.0))


def test_one_float_per_joint(graphs: GraphMaker) -> None:
    from std_msgs.msg import Float64

    graph = graphs(policy={}, command__type="float64")
    right = graph.peer.hear(Float64, "joint_commands/right_joint", 50)
    left = run(graph, Float64, "joint_commands/left_joint")
    wait_until(lambda: right and left[-1][1].data == 2.0 and right[-1][1].data == -4.0)


def test_any_message_by_path(graphs: GraphMaker) -> None:
    from geometry_msgs.msg import WrenchStamped

    graph = graphs(
        policy={},
        command__type="message",
        command__message_type="geometry_msgs/msg/WrenchStamped",
        command__fields=["wrench.force.y", "wrench.torque.z"],
        command__constants=["header.frame_id=base", "wrench.force.x=0.25"],
    )
    commands = run(graph, WrenchStamped)
    wait_until(lambda: commands[-1][1].wrench.torque.z == -4.0)
    wrench = commands[-1][1].wrench
    assert (wrench.force.x, wrench.force.y) == (0.25, 2.0)
    assert commands[-1][1].header.frame_id == "base"


def test_held_joints_stand_beside_the_driven_ones(graphs: GraphMaker) -> None:
    from sensor_msgs.msg import JointState

    graph = graphs(policy={}, command__held_joints=["head=0.75"],
                   command__joint_names=["head", "right_joint", "left_joint"])  # fmt: skip
    commands = run(graph, JointState)
    wait_until(lambda: list(commands[-1][1].velocity) == [0.75, -4.0, 2.0])
    assert list(commands[-1][1].name) == ["head", "right_joint", "left_joint"]


def test_efforts_from_position_targets_and_none_when_it_holds(graphs: GraphMaker) -> None:
    from sensor_msgs.msg import JointState

    changes = spec(
        stiffness={"left_joint": 10.0, "right_joint": 20.0},
        damping=[1.0, 2.0],
        effort_limit=[100.0, 30.0],
        **groups("position", joints=list(JOINTS)),
    )
    graph = graphs(policy=changes, command__effort_from_pd=True)
    commands = graph.peer.hear(JointState, "joint_commands", 200)
    publisher = graph.peer.publisher(JointState, "joint_states")
    ending = threading.Event()

    def move() -> None:
        while not ending.wait(0.01):
            publisher.publish(
                JointState(
                    name=["right_joint", "left_joint"], position=[0.5, 0.25], velocity=[1.0, 2.0]
                )
            )

    mover = threading.Thread(target=move)
    mover.start()
    try:
        graph.activate()
        graph.await_decision("RUN")
        wait_until(lambda: commands, what="efforts")
        # Targets are twice the velocities: left 4, right 2.
        # left 10 (4 - 0.25) - 1 * 2 = 35.5; right 20 (2 - 0.5) - 2 * 1 = 28.
        newest = commands[-1][1]
        assert dict(zip(newest.name, newest.effort, strict=True)) == pytest.approx(
            {"left_joint": 35.5, "right_joint": 28.0}
        )
        assert len(newest.position) == 0
    finally:
        ending.set()
        mover.join()
    graph.await_decision("HOLD", "input too old")
    wait_until(lambda: list(commands[-1][1].effort) == [0.0, 0.0])
    assert graph.await_status("safety", "HOLD")["efforts not finite"] == "0"


def test_an_imu_mounted_upside_down_is_turned_back(graphs: GraphMaker) -> None:
    from sensor_msgs.msg import Imu, JointState

    changes = spec(
        inputs={"imu": {"type": "sensor_msgs/msg/Imu", "topic": "imu"}},
        observation=[
            {
                "tensor": "obs",
                "terms": [
                    {"term": "projected_gravity", "input": "imu"},
                    {"term": "constant", "value": [0.0]},
                ],
                "normalization": "none",
            }
        ],
    )
    graph = graphs(policy=changes, inputs__imu__mounting=[math.pi, 0.0, 0.0],
                   safety__max_tilt=0.5, publish_vectors=True)  # fmt: skip
    from std_msgs.msg import Float64MultiArray

    seen = graph.peer.hear(Float64MultiArray, "policy_runner/observation", 50)
    commands = graph.peer.hear(JointState, "joint_commands", 50)
    message = Imu()
    message.orientation.w, message.orientation.x = 0.0, 1.0  # of the sensor; the body is upright
    publisher = graph.peer.publisher(Imu, "imu")
    ending = threading.Event()

    def turn() -> None:
        while not ending.wait(0.01):
            publisher.publish(message)

    turner = threading.Thread(target=turn)
    turner.start()
    try:
        graph.activate()
        graph.await_decision("RUN")
        wait_until(lambda: seen and commands, what="an observation")
        assert list(seen[-1][1].data) == pytest.approx([0.0, 0.0, -1.0, 0.0], abs=1e-6)
    finally:
        ending.set()
        turner.join()
