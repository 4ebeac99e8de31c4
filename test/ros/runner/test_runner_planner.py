"""The planner of examples/planner in a graph: a map, a state and a goal become a Path at 20 Hz."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml
from children import wait_until
from runner_rig import Graph, GraphMaker
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "planner"


def write_planner(folder: Path) -> Path:
    """Write a policy with the example's contract: pose k is (k + 1) / 20 of the goal.

    The mean of the map is added to every number, so a test sees that the map arrives.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    parts = np.hstack([np.eye(3) * (k + 1) / 20 for k in range(20)])
    axes = np.array([1, 2, 3], dtype=np.int64)
    nodes = [
        helper.make_node("MatMul", ["goal", "parts"], ["line"]),
        helper.make_node("ReduceMean", ["costmap"], ["mean"], axes=axes.tolist(), keepdims=0),
        helper.make_node("Add", ["line", "mean"], ["moved"]),
        helper.make_node("ReduceSum", ["robot"], ["moving"], keepdims=0),
        helper.make_node("ReduceSum", ["metadata"], ["bounded"], keepdims=0),
        helper.make_node("Mul", ["moving", "zero"], ["still"]),
        helper.make_node("Mul", ["bounded", "zero"], ["free"]),
        helper.make_node("Sum", ["moved", "still", "free"], ["poses"]),
    ]
    sizes = {"costmap": [1, 1, 50, 50], "robot": [1, 9], "goal": [1, 3], "metadata": [1, 2]}
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in sizes.items()]
    outputs = [helper.make_tensor_value_info("poses", TensorProto.FLOAT, [1, 60])]
    constants = [
        numpy_helper.from_array(parts.astype(np.float32), "parts"),
        numpy_helper.from_array(np.zeros((), np.float32), "zero"),
    ]
    graph = helper.make_graph(nodes, "planner", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / "policy.onnx"))
    spec = yaml.safe_load((EXAMPLE / "contract.yaml").read_text(encoding="utf-8"))
    spec = {"schema": "policy_runner/1", **spec, "model": {"file": "policy.onnx"}}
    (folder / "policy.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return folder


class World:
    """Publishes a map with 625 occupied cells, a robot at (1, 2) facing +y, and a goal."""

    def __init__(self, graph: Graph) -> None:
        from geometry_msgs.msg import PoseStamped
        from nav_msgs.msg import OccupancyGrid, Odometry
        from std_msgs.msg import Float32MultiArray

        self.map = OccupancyGrid()
        self.map.header.frame_id = "base_link"
        self.map.info.width = self.map.info.height = 50
        self.map.info.resolution = 0.1
        self.map.info.origin.position.x = self.map.info.origin.position.y = -2.5
        self.map.data = [100] * 625 + [0] * 1875
        odometry, goal = Odometry(), PoseStamped()
        odometry.pose.pose.position.x, odometry.pose.pose.position.y = 1.0, 2.0
        turned = odometry.pose.pose.orientation
        turned.z = turned.w = float(np.sqrt(0.5))
        goal.pose.position.x, goal.pose.position.y = 0.0, 4.0
        goal.pose.orientation.z, goal.pose.orientation.w = turned.z, turned.w
        self._messages = {
            "local_costmap": self.map, "odom": odometry, "goal_pose": goal,
            "plan_bounds": Float32MultiArray(data=[0.5, 0.2]),
        }  # fmt: skip
        self._peer = graph.peer
        self._publishers = {
            topic: graph.peer.publisher(type(message), topic)
            for topic, message in self._messages.items()
        }
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._publish)
        self._thread.start()

    def _publish(self) -> None:
        while not self._ending.wait(0.02):
            stamp = self._peer.node.get_clock().now().to_msg()
            for topic, message in self._messages.items():
                if topic != "plan_bounds":
                    message.header.stamp = stamp
                self._publishers[topic].publish(message)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()


@pytest.fixture
def world() -> Iterator[Callable[[Graph], World]]:
    made: list[World] = []

    def make(graph: Graph) -> World:
        made.append(World(graph))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_path_of_20_poses_at_20_hz_and_a_stop_at_the_robot(
    graphs: GraphMaker, world: Callable[[Graph], World], tmp_path: Path
) -> None:
    from nav_msgs.msg import Path as PathMessage

    write_planner(tmp_path / "policy")
    section = yaml.safe_load((EXAMPLE / "robot.yaml").read_text(encoding="utf-8"))
    graph = graphs(**section["/**/policy_runner"]["ros__parameters"])
    paths = graph.peer.hear(PathMessage, "joint_commands", 100)
    graph.activate()
    surroundings = world(graph)
    graph.await_decision("RUN")
    wait_until(lambda: len(paths) > 20, what="20 paths")
    first, last = paths[-20][0], paths[-1][0]
    # 19 periods of 50 ms; a spinning loop takes none of it, a lost machine more.
    assert 0.5 < last - first < 3.0
    path = paths[-1][1]
    assert len(path.poses) == 20
    stamp = path.header.stamp
    assert stamp.sec > 0
    # The goal is 2 m ahead and 1 m to the left; a quarter of the map is occupied.
    for k, one in enumerate(path.poses):
        share = (k + 1) / 20
        place, turned = one.pose.position, one.pose.orientation
        assert (place.x, place.y) == pytest.approx((2 * share + 0.25, share + 0.25), abs=1e-5)
        assert (turned.x, turned.y) == (0.0, 0.0)
        assert 2 * np.arctan2(turned.z, turned.w) == pytest.approx(0.25, abs=1e-5)
        assert (one.header.frame_id, one.header.stamp) == ("base_link", stamp)
    surroundings.map.info.resolution = 0.05
    detail = graph.await_decision("HOLD")
    assert "cells of 0.05 m instead of 0.1 m" in detail
    count = len(paths)
    wait_until(lambda: len(paths) > count + 1, what="the stop")
    stopped = paths[-1][1].poses
    assert {(one.pose.position.x, one.pose.position.y) for one in stopped} == {(0.0, 0.0)}
    assert {(one.pose.orientation.z, one.pose.orientation.w) for one in stopped} == {(0.0, 1.0)}
