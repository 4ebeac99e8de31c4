"""Damaged messages from the wire: a fault in words, or numbers; never a crash of the loop."""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import fuzz, mutated_bytes

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")


def _messages() -> dict[str, tuple[Any, list[str]]]:
    from geometry_msgs.msg import TwistStamped
    from sensor_msgs.msg import Imu, JointState, Joy, LaserScan
    from std_msgs.msg import Float64MultiArray, MultiArrayDimension

    joints = JointState(name=["hip", "knee"], position=[0.1, 0.2], velocity=[1.0, 2.0])
    scan = LaserScan(ranges=[1.0, 2.0, 3.0], intensities=[0.5])
    array = Float64MultiArray(data=[1.0, 2.0])
    array.layout.dim = [MultiArrayDimension(label="x", size=2, stride=2)]
    return {
        "Imu": (Imu(), ["orientation", "angular_velocity"]),
        "JointState": (joints, []),
        "TwistStamped": (TwistStamped(), ["twist.linear", "twist.angular"]),
        "LaserScan": (scan, ["ranges[0:3]", "range_max"]),
        "Joy": (Joy(axes=[0.5, 0.25], buttons=[1]), ["axes[0:2]"]),
        "Float64MultiArray": (array, ["data[0:2]"]),
    }


class _Wire:
    """A subscription whose messages are given."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []

    def take_raw(self) -> Any:
        return (self.waiting.pop(0), {"received_timestamp": 0}) if self.waiting else None


@pytest.mark.parametrize(
    "name", ["Imu", "JointState", "TwistStamped", "LaserScan", "Joy", "Float64MultiArray"]
)
@pytest.mark.parametrize("arrival", ["waited", "stamp"])
def test_messages(tmp_path: Path, name: str, arrival: str) -> None:
    from rclpy.serialization import serialize_message

    from policy_runner.core.inputs.joints import RobotJoint
    from policy_runner.core.inputs.slot import InputSlot
    from policy_runner.core.spec import Input
    from policy_runner.ros.inputs.polling import PolledInput
    from policy_runner.ros.messages.raw_reader import SlotReader

    message, paths = _messages()[name]
    package = {"TwistStamped": "geometry_msgs", "Float64MultiArray": "std_msgs"}
    kind = f"{package.get(name, 'sensor_msgs')}/msg/{name}"
    slot = InputSlot("given", Input(type=kind, topic="t"))
    for path in paths:
        slot.field(path)
    if name == "JointState":
        names = ["hip", "knee"]
        robot = {joint: RobotJoint(joint) for joint in names}
        for values in ("position", "velocity"):
            slot.joint_values(values, names, robot, [0, 1])
    wire: Any = _Wire()
    polled = PolledInput(wire, slot, SlotReader(slot, type(message)), 1 << 20)
    whole = serialize_message(message)
    wire.waiting.append(whole)
    polled.drain(1, arrival)
    assert (slot.count, slot.faults) == (1, 0), slot.fault

    def read(raw: bytes) -> None:
        before = slot.count + slot.faults
        wire.waiting = [raw, raw]
        polled.drain(1000, arrival)
        assert slot.count + slot.faults == before + 2
        assert len(slot.fault) < 2000
        for array in slot.arrays.values():
            assert array.dtype == np.float64

    def make(rng: random.Random) -> bytes:
        return mutated_bytes(rng, whole, [whole])

    assert fuzz(f"message {name} {arrival}", tmp_path, make, read, ())["read"]
