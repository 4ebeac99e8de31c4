"""The description of a simulated robot, and its frames where `tf2_msgs` is installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sim_rig import plant

from policy_runner.core.errors import Refusal

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("rclpy", "mujoco")), reason="needs rclpy and mujoco"
)
URDF = """<robot name="arm"><link name="foot"/><link name="camera"/>
<joint name="mount" type="fixed"><parent link="foot"/><child link="camera"/>
<origin xyz="0.1 0 0"/></joint></robot>"""


class Frames:
    """Stands in for tf2_msgs/TFMessage, which is not installed everywhere."""

    def __init__(self) -> None:
        self.transforms: list[Any] = []


class Published:
    """Stands in for a node; keeps what is published, by topic."""

    def __init__(self) -> None:
        self.messages: dict[str, list[Any]] = {}

    def create_publisher(self, _kind: Any, topic: str, _qos: Any) -> Any:
        return SimpleNamespace(publish=self.messages.setdefault(topic, []).append)

    def get_namespace(self) -> str:
        return "/left"


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = SimpleNamespace(TFMessage=Frames)
    monkeypatch.setitem(sys.modules, "tf2_msgs", SimpleNamespace(msg=module))
    monkeypatch.setitem(sys.modules, "tf2_msgs.msg", module)
    return Published()


def seen(node: Any, robot: Any, odometry: Any = None) -> dict[str, Any]:
    from policy_runner.ros.simulated_robot.seen import RobotSeen

    RobotSeen(node, robot, odometry).publish(3_000_000_007)
    return {one.child_frame_id: one for one in node.messages["/tf"][-1].transforms}


def test_frames_are_the_bodies_in_their_parents(tmp_path: Path, node: Any) -> None:
    robot = plant(tmp_path, "arm.xml")
    robot.data.qpos[:] = 0.0, 0.0, 0.5
    robot.read.moved()
    found = seen(node, robot)
    assert [(k, one.header.frame_id) for k, one in found.items()] == [
        ("left/foot", "left/world"),
        ("left/shoulder", "left/foot"),
        ("left/upper", "left/shoulder"),
        ("left/fore", "left/upper"),
    ]
    fore = found["left/fore"].transform
    assert (fore.translation.x, fore.translation.z) == pytest.approx((0.25, 0.0))
    assert (fore.rotation.y, fore.rotation.w) == pytest.approx((-np.sin(0.25), np.cos(0.25)))
    assert (fore.translation.y, found["left/fore"].header.stamp.nanosec) == (0.0, 7)
    assert "robot_description" not in node.messages


def test_the_balancer_has_the_frames_of_its_description(node: Any) -> None:
    from nav_msgs.msg import Odometry

    from policy_runner.sim.balancer import Balancer

    odometry = Odometry(child_frame_id="base_link")
    odometry.header.frame_id = "odom"
    found = seen(node, Balancer().plant, odometry)
    assert {(one.header.frame_id, child) for child, one in found.items()} == {
        ("left/odom", "left/base_link"),
        ("left/base_link", "left/left_wheel"),
        ("left/base_link", "left/right_wheel"),
        ("left/base_link", "left/imu_link"),
    }
    assert found["left/left_wheel"].transform.translation.y == pytest.approx(0.2)
    assert "<robot name=" in node.messages["robot_description"][0].data


def test_a_description_lies_next_to_the_robot_file(tmp_path: Path, node: Any) -> None:
    (tmp_path / "arm.urdf").write_text(URDF, "utf-8")
    found = seen(node, plant(tmp_path, "arm.xml", description="arm.urdf"))
    camera = found["left/camera"]
    assert (camera.header.frame_id, camera.transform.translation.x) == ("left/foot", 0.1)
    assert node.messages["robot_description"][0].data == URDF
    for name, sentence in (("../x.urdf", "a file inside"), ("no.urdf", "got no such file")):
        with pytest.raises(Refusal, match=sentence):
            seen(node, plant(tmp_path, "arm.xml", description=name))
    (tmp_path / "arm.urdf").write_text("<robot", "utf-8")
    with pytest.raises(Refusal, match="expected a URDF"):
        seen(node, plant(tmp_path, "arm.xml", description="arm.urdf"))


def test_without_tf2_msgs_only_the_description_is_published(
    monkeypatch: pytest.MonkeyPatch, node: Any
) -> None:
    from policy_runner.ros.simulated_robot import seen as module
    from policy_runner.sim.balancer import Balancer

    monkeypatch.setattr(module, "tf_message", lambda: None)
    module.RobotSeen(node, Balancer().plant).publish(1)
    assert list(node.messages) == ["robot_description"]
