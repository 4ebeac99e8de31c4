"""Terms from a quaternion against rotation matrices, and poses relative to a frame."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import FakeClock, Rig, settings_for, term, write_spec
from fidelity_rig import IMU, FakeModel, fault, observed, terms_content, terms_rig
from hypothesis import given
from hypothesis import strategies as st

from policy_runner.core.errors import Refusal
from policy_runner.core.observation.terms.rotation import from_euler, matrix
from policy_runner.core.pipeline.build import build_pipeline
from policy_runner.core.spec import read_spec

ANGLE = st.floats(-3.1, 3.1)


def _rotation(roll: float, pitch: float, yaw: float) -> np.ndarray:
    """Return Rz Ry Rx."""
    cr, sr, cp, sp = math.cos(roll), math.sin(roll), math.cos(pitch), math.sin(pitch)
    cy, sy = math.cos(yaw), math.sin(yaw)
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


@given(roll=ANGLE, pitch=ANGLE, yaw=ANGLE)
def test_a_quaternion_and_its_matrix(roll: float, pitch: float, yaw: float) -> None:
    found = np.array(matrix(from_euler(roll, pitch, yaw))).reshape(3, 3)
    assert found == pytest.approx(_rotation(roll, pitch, yaw), abs=1e-12)


RPY = (0.3, -0.7, 2.0)
R = _rotation(*RPY)
Q = from_euler(*RPY)

TERMS: dict[str, tuple[dict[str, Any], list[float]]] = {
    "euler": (term("euler_angles", input="imu"), list(RPY)),
    "euler, chosen": (term("euler_angles", input="imu", angles=["yaw", "roll"]), [2.0, 0.3]),
    "heading": (term("heading", input="imu"), [math.sin(2.0), math.cos(2.0)]),
    "heading, cos first": (
        term("heading", input="imu", parts=["cos", "sin"]),
        [math.cos(2.0), math.sin(2.0)],
    ),
    "6d by rows": (
        term("rotation_6d", input="imu", layout="rows"),
        [R[0, 0], R[0, 1], R[1, 0], R[1, 1], R[2, 0], R[2, 1]],
    ),
    "6d by columns": (
        term("rotation_6d", input="imu", layout="columns"),
        [R[0, 0], R[1, 0], R[2, 0], R[0, 1], R[1, 1], R[2, 1]],
    ),
    "6d of the inverse": (
        term("rotation_6d", input="imu", layout="rows", inverse=True),
        [R[0, 0], R[1, 0], R[0, 1], R[1, 1], R[0, 2], R[1, 2]],
    ),
    "quaternion": (term("quaternion", input="imu", layout="xyzw"), list(Q)),
    "quaternion, w first": (
        term("quaternion", input="imu", layout="wxyz"),
        [Q[3], Q[0], Q[1], Q[2]],
    ),
    "gravity": (term("projected_gravity", input="imu"), list(R.T @ [0, 0, -1])),
}


@pytest.mark.parametrize("name", TERMS)
def test_by_hand(tmp_path: Path, name: str) -> None:
    one, expected = TERMS[name]
    rig = terms_rig(tmp_path, [one], {"imu": IMU}, len(expected))
    rig.feed("imu", 1, orientation=Q)
    assert observed(rig) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", [name for name in TERMS if "quaternion" not in name])
def test_the_other_sign_is_the_same_rotation(tmp_path: Path, name: str) -> None:
    one, expected = TERMS[name]
    rig = terms_rig(tmp_path, [one], {"imu": IMU}, len(expected))
    rig.feed("imu", 1, orientation=[-x for x in Q])
    assert observed(rig) == pytest.approx(expected, abs=1e-12)


def test_positive_w(tmp_path: Path) -> None:
    one = term("quaternion", input="imu", layout="xyzw", positive_w=True)
    rig = terms_rig(tmp_path, [one], {"imu": IMU}, 4)
    rig.feed("imu", 1, orientation=[-x for x in Q])
    sign = 1 if Q[3] >= 0 else -1
    assert observed(rig) == pytest.approx([sign * x for x in Q])


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("bad", [(0, 0, 0, 0), (0, 0, 0, 1.1), (0, math.nan, 0, 1)])
def test_what_is_no_rotation_is_a_fault(tmp_path: Path, name: str, bad: tuple[float, ...]) -> None:
    one, expected = TERMS[name]
    rig = terms_rig(tmp_path, [one], {"imu": IMU}, len(expected))
    rig.feed("imu", 1, orientation=bad)
    assert "a quaternion of squared norm" in fault(rig)


def _mounted(folder: Path, terms: list[dict[str, Any]], size: int, **mountings: Any) -> Rig:
    path = write_spec(folder, terms_content(terms, {"imu": IMU}))
    spec_file = read_spec(path)
    model = FakeModel({"obs": np.zeros((1, size))}, {"act": (1, 2)})
    pipeline = build_pipeline(spec_file, model, settings_for(spec_file), {}, FakeClock(), mountings)
    pipeline.activate()
    return Rig(pipeline, model)


@pytest.mark.parametrize("mounting", [(math.pi, 0.0, 0.0), (0.1, -0.2, 0.5)])
def test_a_turned_sensor_tells_the_body_s_numbers(
    tmp_path: Path, mounting: tuple[float, float, float]
) -> None:
    terms = [
        term("projected_gravity", input="imu"),
        term("euler_angles", input="imu"),
        term("field", input="imu", field="angular_velocity"),
        term("field", input="imu", fields=["linear_acceleration.z", "angular_velocity.x"]),
    ]
    rig = _mounted(tmp_path, terms, 11, imu=mounting)
    turned = _rotation(*mounting)  # body vector = turned @ sensor vector
    rate, acceleration = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 9.0])
    # R(world, sensor) = R(world, body) R(body, sensor)
    rig.feed(
        "imu",
        1,
        orientation=_quaternion(R @ turned),
        angular_velocity=(turned.T @ rate).tolist(),
        linear_acceleration=(turned.T @ acceleration).tolist(),
    )
    expected = [*(R.T @ [0, 0, -1]), *RPY, *rate, acceleration[2], rate[0]]
    assert observed(rig) == pytest.approx(expected, abs=1e-9)
    ((gravity, _),) = rig.pipeline._robot_watch._gravities
    assert gravity == pytest.approx(R.T @ [0, 0, -1])


def _quaternion(m: np.ndarray) -> list[float]:
    """Return the unit quaternion (x, y, z, w) of a matrix whose trace is not near -1."""
    values, vectors = np.linalg.eig(m)
    axis = np.real(vectors[:, np.argmin(np.abs(values - 1))])
    angle = math.acos((np.trace(m) - 1) / 2)
    skew = np.array([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]])
    if float(axis @ skew) < 0:
        axis = -axis
    return [*(math.sin(angle / 2) * axis), math.cos(angle / 2)]


def test_only_an_imu_has_a_mounting(tmp_path: Path) -> None:
    content = terms_content(
        [term("velocity_command", input="cmd")], {"cmd": "geometry_msgs/msg/Twist"}
    )
    spec_file = read_spec(write_spec(tmp_path, content))
    model = FakeModel({"obs": np.zeros((1, 3))}, {"act": (1, 2)})
    arguments = (spec_file, model, settings_for(spec_file), {}, FakeClock())
    build_pipeline(*arguments, {"cmd": (0.0, 0.0, 0.0)})
    with pytest.raises(Refusal, match=r"parameter inputs\.cmd\.mounting: expected zeros"):
        build_pipeline(*arguments, {"cmd": (0.0, 0.0, 0.1)})


POSE = "geometry_msgs/msg/PoseStamped"


def test_pose_in_frame(tmp_path: Path) -> None:
    one = term(
        "pose_in_frame",
        pose={"input": "goal"},
        frame={"input": "odom", "field": "pose.pose"},
        parts=["position", "yaw", "quaternion_wxyz", "position_xy"],
    )
    rig = terms_rig(tmp_path, [one], {"goal": POSE, "odom": "nav_msgs/msg/Odometry"}, 10)
    base = _rotation(0.1, 0.2, 0.9)
    offset, turn = np.array([1.0, 2.0, 3.0]), _rotation(0, 0, 0.4)
    world = np.array([5.0, -1.0, 0.5])
    rig.feed("odom", 1, pose__pose=[*world, *from_euler(0.1, 0.2, 0.9)])
    rig.feed("goal", 1, pose=[*(world + base @ offset), *_quaternion(base @ turn)])
    q = from_euler(0, 0, 0.4)
    assert observed(rig) == pytest.approx([1, 2, 3, 0.4, q[3], q[0], q[1], q[2], 1, 2], abs=1e-9)


def test_a_pose_without_orientation_is_a_fault(tmp_path: Path) -> None:
    one = term("pose_in_frame", pose={"input": "goal"}, frame={"input": "odom"})
    rig = terms_rig(tmp_path, [one], {"goal": POSE, "odom": POSE}, 7)
    rig.feed("goal", 1, pose=[0, 0, 0, 0, 0, 0, 1])
    rig.feed("odom", 1, pose=[0, 0, 0, 0, 0, 0, 0])
    assert "a quaternion of squared norm 0" in fault(rig)
