"""A recording shows the robot, also without tf2_msgs: its description, and where its links are."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from children import wait_until

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("rclpy", "mcap", "rosbags", "mujoco")),
    reason="needs rclpy, mcap, rosbags and mujoco",
)


def recorded(path: Path) -> dict[str, list[Any]]:
    """Read every message by topic, with another library's types."""
    from mcap.reader import make_reader
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    found: dict[str, list[Any]] = {}
    with path.open("rb") as stream:
        for schema, channel, message in make_reader(stream).iter_messages():
            assert schema is not None
            one = store.deserialize_cdr(message.data, schema.name)
            found.setdefault(channel.topic, []).append(one)
    return found


def test_a_robot_without_tf2_msgs_is_recorded_with_transforms(tmp_path: Path) -> None:
    import rclpy
    from nav_msgs.msg import Odometry
    from sensor_msgs.msg import JointState

    from policy_runner.ros.diagnostics.listener import DiagnosticsListener
    from policy_runner.ros.simulated_robot.seen import RobotSeen
    from policy_runner.sim.balancer import Balancer
    from policy_runner.sim.robot_file.robot_reader import read_description
    from policy_runner.telemetry.recording.mcap import Recorder

    if find_spec("tf2_msgs") is not None:
        pytest.skip("tf2_msgs is installed, so /tf is recorded as it comes")
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("robot", context=context, namespace="/left")
    plant = Balancer().plant
    RobotSeen(node, plant)
    states = node.create_publisher(JointState, "joint_states", 10)
    poses = node.create_publisher(Odometry, "odom", 10)
    path = tmp_path / "run.mcap"
    recorder = Recorder(path)
    counts: dict[str, int] = {}

    def add(data: bytes, wall_ns: int, topic: str, kind: str) -> None:
        recorder.add(data, wall_ns, topic, kind)
        counts[topic] = counts.get(topic, 0) + 1

    listener = DiagnosticsListener(on_robot=add)
    joints = JointState(name=["right_wheel_joint", "left_wheel_joint"], position=[-0.5, 1.5])
    joints.header.stamp.sec = 7
    base = Odometry(child_frame_id="base_link")
    base.header.frame_id, base.header.stamp.sec = "odom", 7
    base.pose.pose.position.x, base.pose.pose.orientation.z = 3.0, 1.0
    base.pose.pose.orientation.w = 0.0

    def told() -> bool:
        states.publish(joints)
        poses.publish(base)
        time.sleep(0.05)
        return counts.get("/tf", 0) >= 4 and "/left/robot_description" in counts

    try:
        wait_until(told, 15.0)
        # 300 poses in a burst: one transform in 20 ms is enough to draw them.
        before, begin = counts["/tf"], time.monotonic()
        for _ in range(300):
            poses.publish(base)
        time.sleep(0.3)
        assert counts["/tf"] - before <= 2 + (time.monotonic() - begin) / 0.02
        assert counts["/tf"] > before
    finally:
        listener.close()
        recorder.close()
        node.destroy_node()
        context.try_shutdown()
    found = recorded(path)
    assert found["/left/robot_description"][0].data == read_description(plant.robot)
    transforms = {t.child_frame_id: t for m in found["/tf"] for t in m.transforms}
    assert set(transforms) == {
        f"left/{name}" for name in ("base_link", "imu_link", "left_wheel", "right_wheel")
    }
    at = transforms["left/base_link"]
    assert (at.header.frame_id, at.header.stamp.sec) == ("left/odom", 7)
    assert (at.transform.translation.x, at.transform.rotation.z) == (3.0, 1.0)
    wheel = transforms["left/left_wheel"]
    assert wheel.header.frame_id == "left/base_link"
    assert wheel.transform.translation.y == 0.2
    assert wheel.transform.rotation.y == pytest.approx(0.6816387600233341)  # sin(1.5 / 2)
