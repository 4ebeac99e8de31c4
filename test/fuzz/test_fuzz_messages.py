"""Damaged serialized messages give numbers or a fault with a sentence, and never crash the loop."""

from __future__ import annotations

import contextlib
import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cdr_rig import BIG, LITTLE, encode, message_classes, random_message
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
    """A subscription that returns given messages."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []

    def take_raw(self) -> Any:
        return (self.waiting.pop(0), {"received_timestamp": 0}) if self.waiting else None


@pytest.mark.parametrize(
    "name", ["Imu", "JointState", "TwistStamped", "LaserScan", "Joy", "Float64MultiArray"]
)
@pytest.mark.parametrize("arrival", ["waited", "stamp"])
@pytest.mark.parametrize("order", [LITTLE, BIG])
def test_messages(tmp_path: Path, name: str, arrival: str, order: str) -> None:
    from rclpy.serialization import deserialize_message

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
    whole = encode(message, order)
    assert deserialize_message(whole, type(message)) == message
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

    assert fuzz(f"message {name} {arrival} {order}", tmp_path, make, read, ())["read"]


def _heads(rng: random.Random, raw: bytes) -> bytes:
    """Sometimes replace the encapsulation by another valid one."""
    if rng.random() < 0.8:
        return raw
    head = bytes((rng.choice((0, 0, 0, 1, 255)), rng.randrange(12), 0, rng.randrange(5)))
    return head + raw[4:]


@pytest.mark.parametrize("order", [LITTLE, BIG])
def test_whole_messages_of_every_type(tmp_path: Path, order: str) -> None:
    """On Kilted the middleware's deserializer crashes on messages that our reader accepts."""
    from policy_runner.core.inputs.cdr import Unreadable
    from policy_runner.ros.messages.raw_reader import CheckedDeserializer

    build = {name: CheckedDeserializer(kind) for name, kind in message_classes().items()}
    assert len(build) > 80
    names = sorted(build)

    def make(rng: random.Random) -> tuple[str, bytes, bytes]:
        name = rng.choice(names)
        whole = encode(random_message(rng, message_classes()[name]), order)
        other = encode(random_message(rng, message_classes()[name]), rng.choice((LITTLE, BIG)))
        return name, whole, _heads(rng, mutated_bytes(rng, whole, [whole, other]))

    def read(given: tuple[str, bytes, bytes]) -> None:
        name, whole, mutated = given
        assert encode(build[name](whole), order) == whole
        build[name](mutated)

    for name in names:  # the first message of a type loads a library
        rng = random.Random(name)
        build[name](encode(random_message(rng, message_classes()[name]), order))
    found = fuzz(f"whole messages {order}", tmp_path, make, read, Unreadable)
    assert found["refused"]
    assert found["read"]


def test_inputs_of_every_type(tmp_path: Path) -> None:
    """Read fields of each type from damaged messages, in both byte orders."""
    from policy_runner.core.errors import Refusal
    from policy_runner.core.inputs.slot import InputSlot
    from policy_runner.core.spec import Input
    from policy_runner.ros.messages.raw_reader import SlotReader

    classes = message_classes()
    names = sorted(classes)

    def slot_of(name: str, rng: random.Random) -> Any:
        slot = InputSlot("given", Input(type=name, topic="t"))
        for field, kind in classes[name].get_fields_and_field_types().items():
            if "string" not in kind and rng.random() < 0.5:
                with contextlib.suppress(KeyError):
                    slot.field(rng.choice((field, f"{field}[0]", f"{field}[1:3]")), 1)
        return slot

    def make(rng: random.Random) -> tuple[str, int, bytes, bytes]:
        name = rng.choice(names)
        order = rng.choice((LITTLE, BIG))
        whole = encode(random_message(rng, classes[name]), order)
        return name, rng.randrange(1 << 30), whole, _heads(rng, mutated_bytes(rng, whole, [whole]))

    def read(given: tuple[str, int, bytes, bytes]) -> None:
        name, seed, whole, mutated = given
        slot = slot_of(name, random.Random(seed))
        reader = SlotReader(slot, classes[name])
        for raw in (whole, mutated, whole):
            before = [array.copy() for array in slot.arrays.values()]
            fault, stamp = reader(raw)
            assert isinstance(stamp, int)
            if fault:
                after = slot.arrays.values()
                assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, after))

    assert fuzz("inputs of every type", tmp_path, make, read, Refusal)["read"]
