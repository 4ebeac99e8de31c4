"""Leaves of message fields, listed without ROS."""

from __future__ import annotations

import pytest

from policy_runner.core.inputs.message_fields import leaves


@pytest.mark.parametrize(
    ("message", "path", "size", "expected"),
    [
        (
            "sensor_msgs/msg/Imu",
            "orientation",
            None,
            ("orientation.x", "orientation.y", "orientation.z", "orientation.w"),
        ),
        ("sensor_msgs/msg/Imu", "angular_velocity.y", None, ("angular_velocity.y",)),
        (
            "geometry_msgs/msg/Twist",
            "angular",
            None,
            ("angular.x", "angular.y", "angular.z"),
        ),
        ("nav_msgs/msg/Odometry", "twist.twist.linear.x", None, ("twist.twist.linear.x",)),
        ("std_msgs/msg/Float64", "data", None, ("data",)),
        ("my_msgs/msg/Thing", "data[3:6]", None, ("data[3]", "data[4]", "data[5]")),
        ("my_msgs/msg/Thing", "deep.data", 2, ("deep.data[0]", "deep.data[1]")),
        ("my_msgs/msg/Thing", "deep.gain", 1, ("deep.gain",)),
    ],
)
def test_leaves(message: str, path: str, size: int | None, expected: tuple[str, ...]) -> None:
    assert leaves(message, path, size) == expected


def test_order_is_that_of_the_definition() -> None:
    found = leaves("nav_msgs/msg/Odometry", "pose")
    assert [leaf.removeprefix("pose.pose.") for leaf in found] == [
        *(f"position.{axis}" for axis in "xyz"),
        *(f"orientation.{axis}" for axis in "xyzw"),
    ]


@pytest.mark.parametrize(
    ("message", "path", "part"),
    [
        ("sensor_msgs/msg/Imu", "gyro", "one of orientation, angular_velocity"),
        ("sensor_msgs/msg/Imu", "orientation.r", "one of x, y, z, w for 'r'"),
        ("sensor_msgs/msg/Imu", "orientation.x.x", "no further field"),
        ("sensor_msgs/msg/Imu", "", "one of orientation"),
        ("my_msgs/msg/Thing", "data", "the key `size`"),
        ("my_msgs/msg/Thing", "data[4:4]", "first < last"),
    ],
)
def test_no_such_field(message: str, path: str, part: str) -> None:
    with pytest.raises(KeyError) as caught:
        leaves(message, path)
    assert part in caught.value.args[0]
