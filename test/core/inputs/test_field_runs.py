"""Field paths are checked against the message type: each must lead to numbers."""

from __future__ import annotations

import pytest

from policy_runner.core.inputs.field_runs import Run, runs_of, wanted_elements
from policy_runner.core.inputs.message_fields import field_kind, leaves, runs
from policy_runner.core.inputs.message_types import NoSuchField, find_field, message_type

TYPES = {
    "x/msg/Quaternion": {"x": "double", "y": "double", "z": "double", "w": "double"},
    "x/msg/Motor": {"mode": "uint8", "q": "float", "reserve": "uint32[2]"},
    "x/msg/State": {
        "name": "string",
        "tick": "uint32",
        "quaternion": "float[4]",
        "orientation": "x/msg/Quaternion",
        "motor_cmd": "x/msg/Motor[3]",
        "few": "sequence<int16, 5>",
        "data": "sequence<double>",
        "spares": "sequence<x/msg/Motor>",
        "wide": "wstring",
        "late": "double",
    },
}
STATE = message_type("x/msg/State", TYPES.__getitem__)


def found(path: str, size: int) -> list[Run]:
    return runs_of(path, leaves("x/msg/State", path, size), STATE)


def test_paths_become_stretches() -> None:
    assert found("tick", 1) == [Run("tick", None, 1, 0)]
    assert found("quaternion", 4) == [Run("quaternion", 0, 4, 0, True)]
    assert found("quaternion[3]", 1) == [Run("quaternion", 3, 1, 0)]
    assert found("motor_cmd[2].q", 1) == [Run("motor_cmd[2].q", None, 1, 0)]
    assert found("motor_cmd[1].reserve", 2) == [Run("motor_cmd[1].reserve", 0, 2, 0, True)]
    assert found("spares[7].q", 1) == [Run("spares[7].q", None, 1, 0)]
    assert found("data[3:6]", 3) == [Run("data", 3, 3, 0)]
    assert found("data", 1) == [Run("data", 0, 1, 0, True)]
    # The path is a message with as many numbers.
    assert [run.path for run in found("orientation", 4)] == [f"orientation.{k}" for k in "xyzw"]


@pytest.mark.parametrize(
    ("path", "size", "says"),
    [
        ("quaternion[4]", 1, "an index below 4, the length of 'quaternion'"),
        ("quaternion", 3, "4 numbers, as many as 'quaternion' has"),
        ("quaternion", 5, "an index below 4"),
        ("motor_cmd[3].q", 1, "an index below 3, the length of 'motor_cmd'"),
        ("motor_cmd.q", 1, r"an element, such as \[0\], before '.q'"),
        ("motor_cmd[0].p", 1, "one of mode, q, reserve for 'p'"),
        ("motor_cmd[0]", 2, "4 numbers, as many as 'motor_cmd"),
        ("few[5]", 1, "an index below 5"),
        ("tick[0]", 1, "1 number, since 'tick' is a single value"),
        ("tick", 2, "1 number, since 'tick' is a single value"),
        ("name", 1, "numbers, which 'name' is not"),
        ("orientation", 3, "4 numbers, as many as 'orientation' has"),
        ("wide", 1, "numbers, which 'wide' is not"),
        ("late", 1, "a field in front of 'wide', which cannot be read"),
        ("nothing", 1, "one of name, tick, .* for 'nothing'"),
    ],
)
def test_a_path_that_the_type_has_not_is_refused(path: str, size: int, says: str) -> None:
    with pytest.raises(NoSuchField, match=says):
        found(path, size)


@pytest.mark.parametrize("path", ["position[-1]", "a[1.5]", "a[x]", "a[0][1]", "a[]", "a b"])
def test_a_path_that_no_type_has_is_refused_without_the_type(path: str) -> None:
    with pytest.raises(KeyError, match=r"index|field name"):
        leaves("x/msg/Unknown", path, 1)
    with pytest.raises(NoSuchField):
        find_field(STATE, path)


@pytest.mark.parametrize(
    ("message", "path", "size", "expected"),
    [
        ("std_msgs/msg/Float32MultiArray", "data[3]", None, ("data[3]",)),
        ("geometry_msgs/msg/PoseArray", "poses[2].position.x", None, ("poses[2].position.x",)),
        (
            "nav_msgs/msg/Path",
            "poses[0].pose.position",
            None,
            tuple(f"poses[0].pose.position.{k}" for k in "xyz"),
        ),
        ("sensor_msgs/msg/Imu", "orientation_covariance[8]", None, ("orientation_covariance[8]",)),
    ],
)
def test_elements_of_known_types(
    message: str, path: str, size: int | None, expected: tuple[str, ...]
) -> None:
    assert leaves(message, path, size) == expected


@pytest.mark.parametrize(
    ("message", "path", "says"),
    [
        ("sensor_msgs/msg/Imu", "orientation_covariance[9]", "an index below 9"),
        ("sensor_msgs/msg/Imu", "orientation_covariance[3:10]", "a slice within the 9 elements"),
        ("sensor_msgs/msg/Imu", "angular_velocity[0]", "no index, since 'angular_velocity'"),
        ("geometry_msgs/msg/PoseArray", "poses", r"an element, such as poses\[0\]"),
        ("std_msgs/msg/Float64MultiArray", "data[-1]", "an index from 0 on"),
    ],
)
def test_elements_that_known_types_have_not(message: str, path: str, says: str) -> None:
    with pytest.raises(KeyError, match=says):
        leaves(message, path)


def test_a_whole_array_of_fixed_length_needs_no_size() -> None:
    assert len(leaves("nav_msgs/msg/Odometry", "pose.covariance")) == 36
    assert field_kind("sensor_msgs/msg/Imu", "orientation_covariance", "sequence") == "number[9]"


def test_stretches_end_where_the_next_element_is_another() -> None:
    assert runs(("a[0]", "a[1]", "a[3]", "b", "c[0].x", "c[1].x")) == [
        ("a", 0, 2),
        ("a", 3, 1),
        ("b", None, 1),
        ("c[0].x", None, 1),
        ("c[1].x", None, 1),
    ]


def test_how_many_elements_of_arrays_of_messages_are_wanted() -> None:
    assert wanted_elements(["a[2].b[1].x", "a[0].y", "data"]) == {"a": 3, "a[2].b": 2}
