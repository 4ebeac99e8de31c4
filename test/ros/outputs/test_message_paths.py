"""Any message by path: each number once, no gaps, constants that fit their fields."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from policy_runner.core.errors import Refusal

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")


def made(message: str, *fields: str, constants: tuple[str, ...] = (), **more: Any) -> Any:
    from policy_runner.ros.outputs.command_messages import CommandFormat, command_messages

    form = CommandFormat(
        "message", message_type=message, fields=fields, constants=constants, **more
    )
    names = [f"j{k}" for k in range(len(fields))]
    (message_made,) = command_messages(form, "position", names)
    return message_made


def sent(message: str, *fields: str, **how: Any) -> Any:
    """Return the message with 1.5, 2.5, ... at its fields."""
    from rclpy.serialization import deserialize_message

    one = made(message, *fields, **how)
    values = np.arange(len(fields)) + 1.5
    return deserialize_message(one.serialized.filled(values, 5_000_000_007), one.message_class)


NUMBERS = ("Float32", "Float64", "Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Int64")


@pytest.mark.parametrize("kind", NUMBERS)
def test_scalars_and_sequences_of_every_numeric_type(kind: str) -> None:
    whole = "Int" in kind
    assert sent(f"std_msgs/msg/{kind}", "data").data == (2 if whole else 1.5)
    many = sent(f"std_msgs/msg/{kind}MultiArray", "data[1]", "data[0]").data
    assert list(many) == ([2, 2] if whole else [2.5, 1.5])


def test_arrays_of_messages_and_fixed_arrays() -> None:
    poses = sent(
        "geometry_msgs/msg/PoseArray",
        "poses[0].position.x",
        "poses[1].position.z",
        constants=("header.frame_id=base", "poses[1].orientation.x=1e-3"),
    )
    assert (poses.header.frame_id, poses.header.stamp.sec) == ("base", 5)
    assert [pose.position.x for pose in poses.poses] == [1.5, 0.0]
    assert (poses.poses[1].position.z, poses.poses[1].orientation.x) == (2.5, 1e-3)
    imu = sent(
        "sensor_msgs/msg/Imu",
        "orientation_covariance[8]",
        constants=("linear_acceleration_covariance=[1, 2, 3, 4, 5, 6, 7, 8, 9]",),
    )
    assert imu.orientation_covariance[8] == 1.5
    assert list(imu.linear_acceleration_covariance) == list(range(1, 10))


def test_constants_of_every_type() -> None:
    state = sent(
        "sensor_msgs/msg/JointState",
        "position[0]",
        constants=('name=["a", "b"]', "velocity=[1e3, 2]", "effort[0]=3"),
    )
    assert list(state.name) == ["a", "b"]
    assert (list(state.velocity), list(state.effort)) == ([1000.0, 2.0], [3.0])


@pytest.mark.parametrize(
    ("message", "fields", "constants", "says"),
    [
        ("sensor_msgs/msg/Imu", ["orientation_covariance[12]"], [], "an index below 9"),
        ("sensor_msgs/msg/Imu", ["orientation_covariance[9]"], [], "an index below 9"),
        ("sensor_msgs/msg/JointState", ["position[-1]"], [], "indices from 0 on"),
        ("sensor_msgs/msg/JointState", ["position[00]"], [], "indices from 0 on"),
        ("sensor_msgs/msg/JointState", ["position[1]"], [], "got none of position[0]"),
        ("sensor_msgs/msg/JointState", ["position[99999]"], [], "an index below 10000"),
        ("sensor_msgs/msg/JointState", ["position"], [], "which is an array"),
        ("sensor_msgs/msg/JointState", ["header.stamp.sec"], [], "without the stamp"),
        ("sensor_msgs/msg/JointState", ["position[0]", "position[0]"], [], "again"),
        ("sensor_msgs/msg/JointState", ["position[0].x"], [], "expected fields (none)"),
        ("geometry_msgs/msg/PoseArray", ["poses[1].position.x"], [], "got none of poses[0]"),
        ("geometry_msgs/msg/Twist", ["linear[0].x"], [], "an index at arrays alone"),
        ("geometry_msgs/msg/Twist", ["linear.q"], [], "expected fields (x, y, z)"),
        ("geometry_msgs/msg/Twist", ["linear"], [], "geometry_msgs/Vector3"),
        ("std_msgs/msg/Bool", ["data"], [], "which is boolean"),
        ("std_msgs/msg/String", ["data"], [], "which is string"),
        ("geometry_msgs/msg/Twist", ["linear.x"], ["linear.x=1"], "every number once"),
        ("geometry_msgs/msg/Twist", ["linear.x"], ["linear.y=1", "linear.y=2"], "again"),
        ("geometry_msgs/msg/Twist", ["linear.x"], ["linear.y=.nan"], "a finite number"),
        ("geometry_msgs/msg/Twist", ["linear.x"], ["linear.y=.inf"], "a finite number"),
        ("geometry_msgs/msg/Twist", ["linear.x"], ["linear.y=one"], "a finite number"),
        ("geometry_msgs/msg/Twist", ["linear.x"], ["linear={x: 1}"], "numbers, text"),
        ("geometry_msgs/msg/Twist", ["linear.x"], ["linear.y"], "`path=value` each"),
        ("std_msgs/msg/Float32MultiArray", ["data[1]"], ["data[0]=1e39"], "a float holds"),
        ("std_msgs/msg/UInt8MultiArray", ["data[1]"], ["data[0]=300"], "from 0 to 255"),
        ("std_msgs/msg/UInt8MultiArray", ["data[1]"], ["data[0]=1.5"], "from 0 to 255"),
        ("sensor_msgs/msg/Imu", ["orientation.x"], ["orientation_covariance=[1]"], "list of 9"),
        ("sensor_msgs/msg/BatteryState", ["voltage"], ["present=1"], "true or false"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_key(
    message: str, fields: list[str], constants: list[str], says: str
) -> None:
    with pytest.raises(Refusal) as refusal:
        made(message, *fields, constants=tuple(constants))
    (text,) = [str(problem) for problem in refusal.value.problems]
    assert text.startswith("parameter command.")
    assert says in text


PATH = "nav_msgs/msg/Path"
POSES = "poses[0:3].pose.{position.x,position.y,orientation.yaw}"
FRAMES = ("header.frame_id=base_link", "poses[0:3].header.frame_id=base_link")


def planned(values: Any, *fields: str, constants: tuple[str, ...] = FRAMES) -> Any:
    """Return the Path with these values, sent at 5.000000007 s."""
    from rclpy.serialization import deserialize_message

    from policy_runner.ros.outputs.command_messages import CommandFormat, command_messages

    form = CommandFormat("message", message_type=PATH, fields=fields, constants=constants)
    names = [f"v{k}" for k in range(len(values))]
    (one,) = command_messages(form, "value", names)
    sent = one.serialized.filled(np.array(values), 5_000_000_007)
    return deserialize_message(sent, one.message_class)


def test_one_pattern_writes_every_pose_of_a_path_with_stamps_frames_and_yaws() -> None:
    yaws = np.array([0.0, 2.5, -3.0])
    values = np.ravel([[k + 0.5, k - 0.5, yaws[k]] for k in range(3)])
    path = planned(values, POSES)
    assert [one.pose.position.x for one in path.poses] == [0.5, 1.5, 2.5]
    assert [one.pose.position.y for one in path.poses] == [-0.5, 0.5, 1.5]
    for header in (path.header, *(one.header for one in path.poses)):
        assert (header.frame_id, header.stamp.sec, header.stamp.nanosec) == ("base_link", 5, 7)
    for one, yaw in zip(path.poses, yaws, strict=True):
        q = one.pose.orientation
        assert (q.x, q.y) == (0.0, 0.0)
        assert np.hypot(q.z, q.w) == pytest.approx(1.0, abs=1e-15)
        turned = np.arctan2(2 * (q.w * q.z + q.x * q.y), 1 - 2 * (q.y**2 + q.z**2))
        assert turned == pytest.approx(yaw, abs=1e-15)


def test_the_stop_of_a_path_is_a_path_at_the_robot() -> None:
    path = planned(np.zeros(9), POSES)
    for one in path.poses:
        assert (one.pose.position.x, one.pose.position.y) == (0.0, 0.0)
        assert (one.pose.orientation.z, one.pose.orientation.w) == (0.0, 1.0)


def test_a_stop_by_the_guard_gets_every_stamp() -> None:
    from rclpy.serialization import deserialize_message

    from policy_runner.ros.messages.guard_contract import GuardedOutput
    from policy_runner.ros.outputs.command_messages import CommandFormat, command_messages

    form = CommandFormat("message", message_type=PATH, fields=(POSES,), constants=FRAMES)
    (one,) = command_messages(form, "value", [f"v{k}" for k in range(9)])
    stop, at = one.serialized.filled(np.zeros(9), 0), one.serialized.stamps_at
    sent = GuardedOutput("/plan", PATH, 9, stop, at).stop_at(8_000_000_009)
    path = deserialize_message(sent, one.message_class)
    stamps = [header.stamp for header in (path.header, *(one.header for one in path.poses))]
    assert {(stamp.sec, stamp.nanosec) for stamp in stamps} == {(8, 9)}


@pytest.mark.parametrize(
    ("fields", "constants", "says"),
    [
        (["poses[1:3].pose.position.x"], (), "got none of poses[0]"),
        (["poses[2:2].pose.position.x"], (), "first < last"),
        (["poses[0:20000].pose.position.x"], (), "at most 10000 paths"),
        (["poses[0:5000].pose.position.{x,y,z}"], (), "at most 10000 paths"),
        (["poses[0].pose.position.{x,}"], (), "names such as {x,y}"),
        (["poses[0].pose.position.{x,y"], (), "paths such as"),
        (["poses[0:2].header.stamp.sec"], (), "without the stamp"),
        (["poses[0].pose.{position.x,position.x}"], (), "again"),
        (["poses[0].pose.orientation.{z,yaw}"], (), "sets too"),
        (["poses[0].pose.orientation.{yaw,w}"], (), "again"),
        (["poses[0].pose.orientation.yaw"], ("poses[0].pose.orientation.x=1",), "every number"),
        (["poses[0].pose.position.yaw"], (), "expected fields (x, y, z)"),
        (["poses[0].pose.position.x"], ("poses[0].pose.orientation.yaw=1",), "numbers, text"),
        (["poses[0].pose.position.x"], ("poses[0].header.stamp.sec=1",), "without the stamp"),
        (["poses[0].pose.position.x"], ("poses[0:3].header.frame_id=a",), ""),
        (["poses[0].pose.position.x"], ("poses[0:2].pose.position.y=.nan",), "a finite number"),
        (["poses[0].pose.position.x"], ("header.frame_id=map",), "a frame of the robot"),
        (["poses[0].pose.position.x"], ("header.frame_id=robot1/odom",), "a frame of the robot"),
    ],
)
def test_paths_into_lists_of_messages_are_checked(
    fields: list[str], constants: tuple[str, ...], says: str
) -> None:
    from policy_runner.ros.outputs.path_patterns import every_path

    count = len(every_path(fields, "", []))
    if not says:
        planned(np.zeros(count), *fields, constants=constants)
        return
    with pytest.raises(Refusal) as refusal:
        planned(np.zeros(count), *fields, constants=constants)
    assert any(says in str(problem) for problem in refusal.value.problems), refusal.value.problems


def test_every_problem_is_said_at_once() -> None:
    with pytest.raises(Refusal) as refusal:
        made("geometry_msgs/msg/Twist", "linear.q", "angular.q", constants=("x",))
    assert len(refusal.value.problems) == 3


def test_gains_stand_where_they_are_asked_for_and_damping_takes_them_away() -> None:
    from rclpy.serialization import deserialize_message

    gains = {"j0": {"stiffness": 20.0, "damping": 0.5}, "j1": {"stiffness": 30.0, "damping": 0.7}}
    one = made(
        "std_msgs/msg/Float32MultiArray",
        "data[0]",
        "data[3]",
        stiffness_fields=("data[1]", "data[4]"),
        damping_fields=("data[2]", "data[5]"),
        gains=gains,
    )

    def numbers() -> list[float]:
        raw = one.serialized.filled(np.array([1.0, 2.0]), 0)
        return list(deserialize_message(raw, one.message_class).data)

    assert numbers() == pytest.approx([1.0, 20.0, 0.5, 2.0, 30.0, 0.7])
    one.serialized.damp(True, [1])
    assert numbers() == pytest.approx([1.0, 20.0, 0.5, 2.0, 0.0, 0.7])
    one.serialized.damp(False)
    assert numbers() == pytest.approx([1.0, 20.0, 0.5, 2.0, 30.0, 0.7])


@pytest.mark.parametrize(
    ("stamp_ns", "sec", "nanosec"),
    [
        (12_000_000_034, 12, 34),
        (2**31 * 10**9 - 1, 2**31 - 1, 999_999_999),
        (2**31 * 10**9 + 5, 2**31 - 1, 5),
        (10**19, 2**31 - 1, 0),
        (-1, -1, 999_999_999),
        (-(2**33) * 10**9, -(2**31), 0),
    ],
)
def test_no_stamp_prevents_a_message(stamp_ns: int, sec: int, nanosec: int) -> None:
    from rclpy.serialization import deserialize_message

    one = made("sensor_msgs/msg/JointState", "position[0]")
    raw = one.serialized.filled(np.ones(1), stamp_ns)
    stamp = deserialize_message(raw, one.message_class).header.stamp
    assert (stamp.sec, stamp.nanosec) == (sec, nanosec)


def test_a_trajectorys_stamp_may_be_zero() -> None:
    from rclpy.serialization import deserialize_message

    from policy_runner.ros.outputs.command_messages import CommandFormat, command_messages

    for stamped, sec in ((True, 12), (False, 0)):
        form = CommandFormat("joint_trajectory", stamped=stamped)
        (one,) = command_messages(form, "position", ["a"])
        message = deserialize_message(
            one.serialized.filled(np.array([0.5]), 12_000_000_000), one.message_class
        )
        assert (message.header.stamp.sec, message.points[0].positions[0]) == (sec, 0.5)


@pytest.mark.parametrize(
    "kind", ["std_msgs/Float64", "Float64", "std_msgs.msg.Float64", "a b/msg/C"]
)
def test_a_type_of_another_form_shows_the_form(kind: str) -> None:
    with pytest.raises(Refusal, match="package/msg/Name, such as sensor_msgs/msg/Imu, got"):
        made(kind, "data")
