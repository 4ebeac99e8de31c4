"""Reading and writing serialized bytes gives the same results as message objects."""

from __future__ import annotations

import array
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")

finite = st.floats(allow_nan=False, allow_infinity=False, width=64)
names = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=9),
    min_size=1,
    max_size=8,
    unique=True,
)


def _slot(type_name: str) -> Any:
    from policy_runner.core.inputs.slot import InputSlot
    from policy_runner.core.spec import Input

    return InputSlot("given", Input(type=type_name, topic="t"))


def _read(slot: Any, message: Any) -> tuple[str, int]:
    from rclpy.serialization import serialize_message

    from policy_runner.ros.messages.raw_reader import SlotReader

    fault, stamp = SlotReader(slot, type(message))(serialize_message(message))
    return fault, stamp


@settings(max_examples=60, deadline=None)
@given(frame=st.text(max_size=9), numbers=st.lists(finite, min_size=10, max_size=10))
def test_an_imu_reads_as_its_message(frame: str, numbers: list[float]) -> None:
    from sensor_msgs.msg import Imu

    message = Imu()
    message.header.frame_id = frame.replace("\0", "")
    message.header.stamp.sec, message.header.stamp.nanosec = 7, 5
    q, w, a = message.orientation, message.angular_velocity, message.linear_acceleration
    q.x, q.y, q.z, q.w, w.x, w.y, w.z, a.x, a.y, a.z = numbers
    slot = _slot("sensor_msgs/msg/Imu")
    for path in ("linear_acceleration", "orientation", "angular_velocity"):
        slot.field(path)
    assert _read(slot, message) == ("", 7_000_000_005)
    assert slot.arrays["orientation"].tolist() == numbers[:4]
    assert slot.arrays["angular_velocity"].tolist() == numbers[4:7]
    assert slot.arrays["linear_acceleration"].tolist() == numbers[7:]


@settings(max_examples=60, deadline=None)
@given(names=names, data=st.data())
def test_joints_read_as_their_message(names: list[str], data: st.DataObject) -> None:
    from sensor_msgs.msg import JointState

    values = data.draw(st.lists(finite, min_size=len(names), max_size=len(names)))
    message = JointState(name=names, velocity=array.array("d", values))
    slot = _slot("sensor_msgs/msg/JointState")
    wanted = list(reversed(names))
    slot.joint_values("velocity", wanted, {}, range(len(wanted)))
    assert _read(slot, message) == ("", 0)
    assert slot.joints.values["velocity"].tolist() == list(reversed(values))


def test_one_reader_follows_a_change_of_shape() -> None:
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import JointState

    from policy_runner.ros.messages.raw_reader import SlotReader

    slot = _slot("sensor_msgs/msg/JointState")
    slot.joint_values("position", ["a", "b"], {}, [0, 1])
    reader = SlotReader(slot, JointState)
    for order, values, expected in (
        (["a", "b"], [1.0, 2.0], [1.0, 2.0]),
        (["b", "a"], [3.0, 4.0], [4.0, 3.0]),  # the same length, another order
        (["xx", "b", "a"], [9.0, 5.0, 6.0], [6.0, 5.0]),
        (["b"], [7.0], [6.0, 7.0]),  # a joint that is not in the message keeps its value
        (["a", "b"], [8.0, 9.0], [8.0, 9.0]),
    ):
        message = JointState(name=order, position=array.array("d", values))
        assert reader(serialize_message(message))[0] == ""
        assert slot.joints.values["position"].tolist() == expected


def test_a_short_sequence_is_a_fault_and_a_cut_message_is_no_crash() -> None:
    from rclpy.serialization import serialize_message
    from std_msgs.msg import Float64MultiArray

    from policy_runner.ros.messages.raw_reader import SlotReader

    slot = _slot("std_msgs/msg/Float64MultiArray")
    slot.field("data[1:3]")
    reader = SlotReader(slot, Float64MultiArray)
    good = serialize_message(Float64MultiArray(data=array.array("d", [1.0, 2.0, 3.0])))
    assert reader(good) == ("", 0)
    assert slot.arrays["data[1:3]"].tolist() == [2.0, 3.0]
    short = serialize_message(Float64MultiArray(data=array.array("d", [1.0, 2.0])))
    assert "2 elements in data" in reader(short)[0]
    assert reader(good) == ("", 0)


def test_an_imu_without_orientation_says_so() -> None:
    from sensor_msgs.msg import Imu

    message = Imu()
    message.orientation_covariance[0] = -1.0
    slot = _slot("sensor_msgs/msg/Imu")
    slot.field("orientation")
    assert "no orientation" in _read(slot, message)[0]


@pytest.mark.parametrize("command_type", ["joint_state", "joint_trajectory", "float64_multi_array"])
@pytest.mark.parametrize("kind", ["position", "velocity", "effort"])
def test_serialized_commands_are_the_message_they_stand_for(command_type: str, kind: str) -> None:
    from rclpy.serialization import deserialize_message

    from policy_runner.ros.outputs.command_messages import CommandFormat, command_messages

    joints = ["left_wheel_joint", "r", "third"]
    ((_, message_type, serialized, which),) = command_messages(
        CommandFormat(command_type), kind, joints
    )
    assert which == [0, 1, 2]
    values = np.array([1.5, -2.5, 3.25])
    message = deserialize_message(serialized.filled(values, 12_000_000_034), message_type)
    if command_type == "joint_state":
        assert list(message.name) == joints
        assert list(getattr(message, kind)) == values.tolist()
    elif command_type == "joint_trajectory":
        assert list(message.joint_names) == joints
        point = message.points[0]
        field = {"position": "positions", "velocity": "velocities", "effort": "effort"}[kind]
        assert list(getattr(point, field)) == values.tolist()
        assert point.time_from_start.nanosec == 10_000_000
    else:
        assert list(message.data) == values.tolist()
        return
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (12, 34)


@pytest.mark.parametrize("twist_type", ["twist", "twist_stamped"])
def test_a_twist_is_filled_by_axis(twist_type: str) -> None:
    from rclpy.serialization import deserialize_message

    from policy_runner.ros.outputs.command_messages import CommandFormat, command_messages

    axes = ["angular.z", "linear.x"]
    form = CommandFormat("joint_state", twist_type)
    ((_, message_type, serialized, _),) = command_messages(form, "twist", axes)
    message = deserialize_message(serialized.filled(np.array([0.5, 2.0]), 3), message_type)
    twist = message if twist_type == "twist" else message.twist
    assert (twist.angular.z, twist.linear.x, twist.linear.y) == (0.5, 2.0, 0.0)


def test_one_float_per_joint() -> None:
    from rclpy.serialization import deserialize_message

    from policy_runner.ros.outputs.command_messages import CommandFormat, command_messages

    made = command_messages(CommandFormat("float64"), "effort", ["a", "b"])
    assert [suffix for suffix, _, _, _ in made] == ["/a", "/b"]
    for (_, message_type, serialized, which), value in zip(made, (1.5, 2.5), strict=True):
        raw = serialized.filled(np.array([1.5, 2.5])[which], 0)
        assert deserialize_message(raw, message_type).data == value


def test_held_joints_and_gains_stand_where_the_layout_says() -> None:
    from rclpy.serialization import deserialize_message

    from policy_runner.ros.outputs.command_messages import CommandFormat, command_messages

    form = CommandFormat(
        "float64_multi_array",
        held={"head": 0.5},
        layout=("position", "velocity", "stiffness", "damping"),
        gains={
            "a": {"stiffness": 20.0, "damping": 0.5},
            "head": {"stiffness": 5.0, "damping": 0.1},
            "b": {"stiffness": 30.0, "damping": 0.7},
        },
    )
    ((_, message_type, serialized, which),) = command_messages(form, "position", ["a", "head", "b"])
    assert which == [0, 1, 2]  # a tick fills the held value as well
    message = deserialize_message(serialized.filled(np.array([1.0, 0.5, 2.0]), 0), message_type)
    assert list(message.data) == [1.0, 0, 20.0, 0.5, 0.5, 0, 5.0, 0.1, 2.0, 0, 30.0, 0.7]
    assert [dim.label for dim in message.layout.dim] == [
        "a,head,b",
        "position,velocity,stiffness,damping",
    ]


def test_any_message_is_filled_by_path_with_constants() -> None:
    from rclpy.serialization import deserialize_message

    from policy_runner.core.errors import Refusal
    from policy_runner.ros.outputs.command_messages import CommandFormat, command_messages

    form = CommandFormat(
        "message",
        message_type="geometry_msgs/msg/WrenchStamped",
        fields=("wrench.force.z", "wrench.torque.x"),
        constants=("header.frame_id=tool", "wrench.force.x=1.5"),
    )
    ((_, message_type, serialized, _),) = command_messages(form, "effort", ["up", "roll"])
    raw = serialized.filled(np.array([2.0, 3.0]), 4_000_000_005)
    wrench = deserialize_message(raw, message_type)
    assert wrench.header.frame_id == "tool"
    assert wrench.header.stamp.sec == 4
    assert (wrench.wrench.force.x, wrench.wrench.force.z, wrench.wrench.torque.x) == (1.5, 2, 3)
    wrong = CommandFormat(
        "message", message_type="geometry_msgs/msg/Wrench", fields=("force.q", "torque.x")
    )
    with pytest.raises(Refusal, match=r"fields \(x, y, z\) of .*, got 'force.q'"):
        command_messages(wrong, "effort", ["up", "roll"])


def test_a_message_too_short_for_a_stamp_is_refused_and_the_next_one_taken() -> None:
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import Imu

    from policy_runner.ros.inputs.polling import PolledInput
    from policy_runner.ros.messages.raw_reader import SlotReader

    slot = _slot("sensor_msgs/msg/Imu")
    slot.field("angular_velocity")
    good = Imu()
    good.header.stamp.sec = 3
    queue = [(b"\x00\x01\x00\x00\x01", {}), (serialize_message(good), {})]

    class Queue:
        def take_raw(self) -> Any:
            return queue.pop(0) if queue else None

    polled: Any = Queue()
    PolledInput(polled, slot, SlotReader(slot, Imu), 1000).drain(0, "stamp")
    assert (slot.faults, slot.count, slot.arrived_ns) == (1, 1, 3_000_000_000)
