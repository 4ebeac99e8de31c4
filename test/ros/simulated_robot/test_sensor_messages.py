"""Messages of cameras, noise and frames, filled without a graph."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sim_rig import plant

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("mujoco") is None,
    reason="the messages of a simulated robot need rclpy and mujoco",
)
MS = 1_000_000


class Published:
    """Stands in for a node: remembers what its publishers publish."""

    def __init__(self) -> None:
        self.messages: dict[str, list[Any]] = {}

    def get_namespace(self) -> str:
        return "/"

    def create_publisher(self, _kind: Any, topic: str, _qos: Any) -> Any:
        self.messages[topic] = []

        class Publisher:
            publish = self.messages[topic].append

        return Publisher()


def topics(robot: Any, lockstep: bool = False, noise: Any = None) -> tuple[Any, Published]:
    from policy_runner.ros.simulated_robot.sensor_messages import SensorTopics

    node = Published()
    return SensorTopics(node, robot, None, noise, lockstep), node  # type: ignore[arg-type]


def test_images_come_at_their_rate_and_in_lockstep_in_every_tick(tmp_path: Path) -> None:
    from policy_runner.core.errors import Refusal

    camera = {"type": "camera", "camera": "wrist", "width": 32, "height": 24, "rate": 10.0}
    robot = plant(tmp_path, "arm.xml", sensors={"wrist/image": camera})
    for lockstep, stamps in ((False, [20, 100, 200]), (True, list(range(20, 221, 20)))):
        try:
            sensors, node = topics(robot, lockstep)
        except Refusal as refusal:
            pytest.skip(f"no OpenGL: {refusal}")
        seen = []
        for tick in range(1, 12):
            (topic,) = sensors.topics
            topic.set(tick * 20 * MS)
            before = len(node.messages["wrist/image"])
            topic.publish()
            if len(node.messages["wrist/image"]) > before:
                seen.append(topic.message.header.stamp.nanosec // MS)
        sensors.close()
        assert seen == stamps
        message = node.messages["wrist/image"][0]
        assert (message.height, message.width, message.step) == (24, 32, 96)
        assert (message.encoding, len(message.data)) == ("rgb8", 24 * 96)


def test_noise_has_its_deviation_and_its_covariance(tmp_path: Path) -> None:
    from policy_runner.sim.loop.sensor_numbers import SensorNoise

    imu = {
        "type": "imu",
        "noise_angular_velocity": 0.2,
        "noise_linear_acceleration": 0.3,
        "noise_orientation": 0.01,
    }
    joints = {"type": "joint_states", "noise_position": 0.05, "noise_velocity": 0.4}
    robot = plant(tmp_path, "toy.xml", sensors={"imu/data": imu, "joint_states": joints})
    sensors, _ = topics(robot, noise=SensorNoise(3))
    rates, speeds, turns = [], [], []
    for tick in range(1, 401):
        for topic in sensors.topics:
            topic.set(tick * MS)
        message = sensors.topics[0].message
        rates.append(message.angular_velocity.x)
        turns.append(message.orientation.y)
        speeds.append(sensors.joints.velocity[2])
    assert np.std(rates) == pytest.approx(0.2, rel=0.2)
    assert np.std(speeds) == pytest.approx(0.4, rel=0.2)
    assert np.std(turns) == pytest.approx(0.005, rel=0.2)  # half the angle
    assert message.angular_velocity_covariance[0] == pytest.approx(0.04)
    sensors, _ = topics(robot)
    sensors.topics[0].set(MS)
    assert sensors.topics[0].message.angular_velocity.x == 0.0
    assert sensors.topics[0].message.angular_velocity_covariance[0] == 0.0
