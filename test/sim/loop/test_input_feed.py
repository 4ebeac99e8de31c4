"""Every kind of input gets its numbers from the sensor with its topic and type."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sim_rig import LEGS, TOY_JOINTS, plant

from policy_runner.core.errors import Refusal
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.spec import Input

pytestmark = pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed")

MS = 1_000_000


def slot(name: str, kind: str, topic: str) -> InputSlot:
    return InputSlot(name, Input(type=kind, topic=topic))


def feed_of(robot: Any, *slots: InputSlot, **how: Any) -> Any:
    from policy_runner.sim.loop.input_feed import InputFeed

    slots_by_name = {one.name: one for one in slots}
    loaded = SimpleNamespace(pipeline=SimpleNamespace(slots=slots_by_name))
    return InputFeed(loaded, robot, **how)  # type: ignore[arg-type]


def test_numbers_go_to_the_fields_that_a_policy_reads(tmp_path: Path) -> None:
    sensors = {
        "odom": {"type": "odometry"},
        "feet": {"type": "contacts", "of": [f"{leg}_foot" for leg in LEGS]},
        "named": {"type": "sensors", "names": ["attitude", "rates"]},
    }
    robot = plant(tmp_path, "toy.xml", sensors=sensors, start={"keyframe": "home"})
    robot.data.qvel[:3] = 0.3, -0.2, 0.1
    odometry = slot("odometry", "nav_msgs/msg/Odometry", "odom")
    speed = odometry.field("twist.twist.linear")
    height = odometry.field("pose.pose.position.z")
    feet = slot("feet", "std_msgs/msg/Float64MultiArray", "feet")
    forces = feet.sequence("data")
    named = slot("named", "std_msgs/msg/Float64MultiArray", "named")
    rates = named.field("data[4:7]")
    twist = slot("command", "geometry_msgs/msg/TwistStamped", "cmd_vel")
    forward, yaw = twist.field("twist.linear.x"), twist.field("twist.angular.z")
    feed = feed_of(robot, odometry, feet, named, twist)
    feed.command[[0, 5]] = 0.7, -0.4
    feed.feed(20 * MS)
    assert speed == pytest.approx([0.3, -0.2, 0.1])
    assert height == pytest.approx([0.31])
    assert forces.values is not None
    assert forces.values.shape == (4,)
    assert rates == pytest.approx(robot.read.sensor("rates"))
    assert (forward[0], yaw[0]) == (0.7, -0.4)
    assert {one.stamp_ns for one in (odometry, feet, named, twist)} == {20 * MS}


def test_lost_and_changed_messages(tmp_path: Path) -> None:
    robot = plant(tmp_path, "toy.xml", start={"keyframe": "home"})
    states = slot("joints", "sensor_msgs/msg/JointState", "joint_states")
    positions = states.joint_values("position", TOY_JOINTS, {}, range(8))
    twist = slot("command", "geometry_msgs/msg/Twist", "elsewhere")
    forward = twist.field("linear.x")
    feed = feed_of(robot, states, twist)

    def change(name: str, kind: str, numbers: Any) -> Any:
        return numbers + {("joints", "position"): 0.1, ("command", ""): 2.0}.get((name, kind), 0.0)

    feed.change = change
    feed.feed(10 * MS)
    assert positions == pytest.approx(np.tile([0.6, -0.9], 4))
    assert forward[0] == 2.0
    feed.skipped = {"joints"}
    feed.feed(20 * MS)
    assert (states.arrived_ns, twist.arrived_ns) == (10 * MS, 20 * MS)


def test_images_come_at_the_rate_of_the_camera(tmp_path: Path) -> None:
    camera = {"type": "camera", "camera": "wrist", "rate": 10.0}
    robot = plant(tmp_path, "arm.xml", sensors={"wrist/image": camera})
    image = slot("image", "sensor_msgs/msg/Image", "wrist/image")
    keeper = image.whole_message()
    rendered: list[int] = []

    def render(_sensor: Any) -> int:
        rendered.append(len(rendered))
        return rendered[-1]

    feed = feed_of(robot, image, images=render)
    seen = []
    for tick in range(1, 12):
        feed.feed(tick * 20 * MS)
        seen.append(keeper.message)
        assert image.stamp_ns == tick * 20 * MS
    assert seen == [0] * 4 + [1] * 5 + [2] * 2
    feed.begin()
    feed.feed(20 * MS)
    assert keeper.message == 3
    with pytest.raises(Refusal, match="a renderer of images"):
        feed_of(robot, image)


def test_other_inputs_have_a_source_of_their_own_or_are_refused(tmp_path: Path) -> None:
    robot = plant(tmp_path, "toy.xml", start={"keyframe": "home"})
    height = slot("height", "sensor_msgs/msg/Range", "range")
    numbers = height.field("range")
    with pytest.raises(Refusal, match=r"input height \(range, sensor_msgs/msg/Range\), got imu/"):
        feed_of(robot, height)
    feed = feed_of(robot, height, sources={"height": lambda: {"range": 0.4}})
    feed.feed(MS)
    assert numbers[0] == 0.4
    imu = slot("imu", "sensor_msgs/msg/Imu", "imu/data")
    imu.field("orientation_covariance")
    with pytest.raises(Refusal, match="input imu: expected fields that the simulated robot has"):
        feed_of(robot, imu)
