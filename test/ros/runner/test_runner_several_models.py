"""A chain of models and a switch run in the node at 200 Hz, and reload to one model and back."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import several_rig
from children import wait_until
from runner_rig import Graph, GraphMaker, values_by_name
from runner_rig import graphs as graphs
from several_rig import JOINTS, StandLoop, WalkLoop, chain, switch

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
POSITION, VELOCITY = np.array([0.4, -0.5]), np.array([1.0, -2.0])
FAST, SLOW = np.array([0.1, 0.0, 0.05]), np.zeros(3)


def walking(command: np.ndarray) -> list[np.ndarray]:
    loop = WalkLoop()
    return [loop.step(POSITION, VELOCITY, command) for _ in range(2000)]


def standing() -> list[np.ndarray]:
    loop = StandLoop()
    return [loop.step(POSITION) for _ in range(2000)]


class Robot:
    """An active runner, and a peer that publishes the same measurements at 100 Hz."""

    def __init__(self, graphs: GraphMaker) -> None:
        from geometry_msgs.msg import Twist
        from sensor_msgs.msg import JointState

        self.graph: Graph = graphs(publish_vectors=True)
        self.peer = self.graph.peer
        self.heard = self.peer.hear(JointState, "joint_commands", qos=5000)
        self.command = SLOW
        joints = self.peer.publisher(JointState, "joint_states")
        commands = self.peer.publisher(Twist, "cmd_vel")

        def publish() -> None:
            state = JointState(name=list(JOINTS), position=POSITION.tolist(),
                               velocity=VELOCITY.tolist())  # fmt: skip
            state.header.stamp = self.peer.node.get_clock().now().to_msg()
            joints.publish(state)
            twist = Twist()
            twist.linear.x, twist.linear.y, twist.angular.z = self.command.tolist()
            commands.publish(twist)

        self.peer.node.create_timer(0.01, publish)

    def await_run_of(self, wanted: list[np.ndarray], fewest: int, since: int = 0) -> int:
        """Wait for commands that are `wanted` in its order; return how many were heard in all.

        A command may be lost between two processes' queues, so numbers may be left out.
        """

        rows = np.array(wanted)

        def there() -> int:
            found, at = 0, 0
            for _, message in self.heard[since:]:
                named = values_by_name(message, "position")
                value = np.array([named[joint] for joint in JOINTS])
                fits = np.flatnonzero(np.abs(rows[at:] - value).max(axis=1) <= 1e-5)
                found, at = (found + 1, at + int(fits[0])) if fits.size else (0, 0)
            return len(self.heard) if found >= fewest else 0

        return int(wait_until(there, 20.0, f"{fewest} commands of the policy") or 0)

    def reload(self, folder: Path, content: dict[str, object]) -> int:
        several_rig.write(folder, content)
        answer = self.peer.trigger("reload")
        assert answer.success, answer.message
        return len(self.heard)


def test_chain_and_switch_in_the_node_and_through_reloads(
    graphs: GraphMaker, tmp_path: Path
) -> None:
    folder = tmp_path / "policy"
    several_rig.write(folder, chain())
    robot = Robot(graphs)
    robot.command = FAST
    robot.graph.activate()
    robot.graph.await_decision("RUN")
    robot.await_run_of(walking(FAST)[:400], 100)
    assert robot.graph.await_status("loop", "")["target rate [Hz]"] == "200.0"
    topics = {name for name, _ in robot.peer.node.get_topic_names_and_types()}
    wanted = {f"/policy_runner/observation/{name}" for name in ("obs", "encoder/history")}
    assert wanted <= topics
    model = robot.graph.await_status("model", "")
    assert {"sha256", "encoder/sha256"} <= set(model)
    single = {**several_rig.COMMON, **several_rig.STAND_POLICY, "inputs": {
        "joints": several_rig.COMMON["inputs"]["joints"]}}  # fmt: skip
    since = robot.reload(folder, single)
    robot.await_run_of(standing(), 20, since)
    since = robot.reload(folder, chain())
    robot.await_run_of(walking(FAST), 20, since)
    robot.command = SLOW
    since = robot.reload(folder, switch())
    robot.await_run_of(standing(), 20, since)
    since, robot.command = len(robot.heard), FAST
    robot.await_run_of(walking(FAST), 20, since)
    inference = robot.graph.await_status("inference", "")
    assert (inference["policy"], inference["changes of policy"]) == ("walk", "1")
