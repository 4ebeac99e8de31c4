"""Relations of two bodies, against rotation matrices written out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import refused, term
from fidelity_rig import IMU, JOINTS
from rules_rig import TICKS, meets, observed_rows, rig_of

ODOM, TRANSFORM, POINT = (
    "nav_msgs/msg/Odometry", "geometry_msgs/msg/TransformStamped",
    "geometry_msgs/msg/PointStamped",
)  # fmt: skip
RANDOM = np.random.default_rng(14)


def _quaternions() -> np.ndarray:
    q = RANDOM.normal(size=(TICKS, 4))
    return q / np.linalg.norm(q, axis=1, keepdims=True)


QA, QB = _quaternions(), _quaternions()  # x, y, z, w
PA, PB = RANDOM.normal(size=(TICKS, 3)), RANDOM.normal(size=(TICKS, 3))
JOINT = RANDOM.uniform(-1.5, 1.5, size=(TICKS, 2))
INPUTS = {"imu": IMU, "odom": ODOM, "goal": TRANSFORM, "point": POINT, "joints": JOINTS}


def turn(q: np.ndarray) -> np.ndarray:
    """Return R(q) [3, 3] of x, y, z, w: v + 2 w (u x v) + 2 u x (u x v), column by column."""
    u, w = q[:3], q[3]
    columns = []
    for axis in np.eye(3):
        cross = np.cross(u, axis)
        columns.append(axis + 2 * w * cross + 2 * np.cross(u, cross))
    return np.array(columns).T


def _about(axis: int, angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    found = np.eye(3)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    found[[i, j], [i, j]] = c
    found[j, i], found[i, j] = s, -s
    return found


def _rpy(roll: float, pitch: float, yaw: float) -> np.ndarray:
    return _about(2, yaw) @ _about(1, pitch) @ _about(0, roll)


def _run(folder: Path, one: dict[str, Any], size: int) -> np.ndarray:
    used = {name: kind for name, kind in INPUTS.items() if f"'{name}'" in str(one)}
    rig = rig_of(folder, [one], used, size)

    def feed(k: int, now_ns: int) -> None:
        if "imu" in used:
            rig.feed("imu", now_ns, orientation=QA[k])
        if "odom" in used:
            paths = rig.pipeline.slots["odom"].arrays
            whole = {"pose.pose": [*PA[k], *QA[k]], "pose.pose.position": PA[k]}
            given = {path.replace(".", "__"): whole[path] for path in paths}
            rig.feed("odom", now_ns, **given)
        if "goal" in used:
            paths = rig.pipeline.slots["goal"].arrays
            whole = {"transform": [*PB[k], *QB[k]], "transform.rotation": QB[k]}
            rig.feed("goal", now_ns, **{p.replace(".", "__"): whole[p] for p in paths})
        if "point" in used:
            rig.feed("point", now_ns, point=PB[k])
        if "joints" in used:
            rig.joints("joints", now_ns, ["a", "b"], position=JOINT[k])

    return observed_rows(rig, feed)


A, B = {"input": "odom", "field": "pose.pose"}, {"input": "goal", "field": "transform"}
TIP = {"position": [0.1, -0.2, 0.3], "rpy": [0.3, -0.2, 0.9]}
TIP_TURN, TIP_STEP = _rpy(0.3, -0.2, 0.9), np.array([0.1, -0.2, 0.3])
HIP = {"position": [0.0, 0.1, -0.05], "rpy": [0.0, 0.5, 0.0]}
CHAIN = [{"joint": "b", "axis": "z"}, {"joint": "a", "axis": [0, 2, 0], "origin": HIP}]


def _rows(numbers: Callable[[int], Any]) -> np.ndarray:
    return np.array([np.asarray(numbers(k), dtype=float).reshape(-1) for k in range(TICKS)])


def _vector(r: np.ndarray) -> np.ndarray:
    angle = math.acos(max(-1.0, min(1.0, (np.trace(r) - 1) / 2)))
    w = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
    return w * angle / (2 * math.sin(angle))


def _hamilton(k: int) -> np.ndarray:
    """Return conj(B) A as w, x, y, z with w >= 0."""
    x, y, z, w = -QB[k, 0], -QB[k, 1], -QB[k, 2], QB[k, 3]
    a = QA[k]
    vector = w * a[:3] + a[3] * np.array([x, y, z]) + np.cross([x, y, z], a[:3])
    scalar = w * a[3] - np.dot([x, y, z], a[:3])
    found = np.array([scalar, *vector])
    return found if scalar >= 0 else -found


def _torso(k: int) -> np.ndarray:
    return turn(QA[k]) @ _about(2, JOINT[k, 1]) @ _rpy(0, 0.5, 0) @ _about(1, JOINT[k, 0])


def _yaw(r: np.ndarray) -> np.ndarray:
    return _about(2, math.atan2(r[1, 0], r[0, 0]))


def _relative(product: str, parts: list[str], a: Any = A, b: Any = B) -> dict[str, Any]:
    return term("relative_rotation", a=a, b=b, product=product, parts=parts)


def _difference(axes: str, a: Any = A, b: Any = B, **keys: Any) -> dict[str, Any]:
    return term("position_difference", a=a, b=b, axes=axes, **keys)


IN_A = {"input": "imu", "field": "orientation"}
TURN_B = {"input": "goal", "field": "transform.rotation"}
SIX = ["rotation_6d_rows"]
# name: (term, reference, a mutation that must not meet it)
CASES: dict[str, tuple[dict[str, Any], np.ndarray, dict[str, Any]]] = {
    "A B^-1, first two rows": (
        _relative("a_b_inverse", ["two_rows"]),
        _rows(lambda k: (turn(QA[k]) @ turn(QB[k]).T)[:2]),
        _relative("b_inverse_a", ["two_rows"]),
    ),
    "B^-1 A, six numbers by rows": (
        _relative("b_inverse_a", SIX, IN_A, TURN_B),
        _rows(lambda k: (turn(QB[k]).T @ turn(QA[k]))[:, :2]),
        _relative("b_inverse_a", SIX, TURN_B, IN_A),
    ),
    "B^-1 A, chosen columns and rows": (
        _relative("b_inverse_a", ["column_2", "row_0", "column_0"]),
        _rows(lambda k: np.concatenate([
            (turn(QB[k]).T @ turn(QA[k]))[:, 2], (turn(QB[k]).T @ turn(QA[k]))[0],
            (turn(QB[k]).T @ turn(QA[k]))[:, 0],
        ])),
        _relative("b_inverse_a", ["row_2", "row_0", "column_0"]),
    ),
    "quaternion": (
        _relative("b_inverse_a", ["quaternion_wxyz"]),
        _rows(_hamilton),
        _relative("b_inverse_a", ["quaternion_xyzw"]),
    ),
    "rotation vector and yaw": (
        _relative("a_b_inverse", ["rotation_vector", "yaw"]),
        _rows(lambda k: [*_vector(r := turn(QA[k]) @ turn(QB[k]).T), math.atan2(r[1, 0], r[0, 0])]),
        _relative("b_inverse_a", ["rotation_vector", "yaw"]),
    ),
    "a body at the end of a chain": (
        _relative("b_inverse_a", ["matrix"], {**IN_A, "chain": CHAIN, "joints_input": "joints"}),
        _rows(lambda k: turn(QB[k]).T @ _torso(k)),
        _relative("b_inverse_a", ["matrix"], IN_A),
    ),
    "difference in the world": (
        _difference("world", {"input": "odom", "field": "pose.pose.position"},
                    {"input": "point", "field": "point"}),
        _rows(lambda k: PA[k] - PB[k]),
        _difference("world", {"input": "point", "field": "point"},
                    {"input": "odom", "field": "pose.pose.position"}),
    ),
    "difference in the axes of A": (
        _difference("a", parts=["z", "x"]),
        _rows(lambda k: (turn(QA[k]).T @ (PA[k] - PB[k]))[[2, 0]]),
        _difference("b", parts=["z", "x"]),
    ),
    "difference in the heading of B": (
        _difference("b_yaw"),
        _rows(lambda k: _yaw(turn(QB[k])).T @ (PA[k] - PB[k])),
        _difference("b"),
    ),
    "an offset in the body": (
        _difference("b", {**A, "offset": TIP}),
        _rows(lambda k: turn(QB[k]).T @ (PA[k] + turn(QA[k]) @ TIP_STEP - PB[k])),
        _difference("b", {**A, "world_offset": TIP}),
    ),
    "an offset in the world": (
        _difference("world", {**A, "world_offset": TIP}),
        _rows(lambda k: TIP_TURN @ PA[k] + TIP_STEP - PB[k]),
        _difference("world", {**A, "offset": TIP}),
    ),
    "offsets turn, too": (
        _relative("a_b_inverse", ["matrix"], {**A, "offset": TIP}, {**B, "world_offset": TIP}),
        _rows(lambda k: turn(QA[k]) @ TIP_TURN @ (TIP_TURN @ turn(QB[k])).T),
        _relative("a_b_inverse", ["matrix"], {**A, "world_offset": TIP}, {**B, "offset": TIP}),
    ),
    "orientation from another message": (
        _difference("a", {"input": "odom", "field": "pose.pose.position",
                          "orientation": {"input": "imu"}},
                    {"input": "point", "field": "point"}),
        _rows(lambda k: turn(QA[k]).T @ (PA[k] - PB[k])),
        _difference("world", {"input": "odom", "field": "pose.pose.position"},
                    {"input": "point", "field": "point"}),
    ),
    "a pose in a frame with an offset": (
        term("pose_in_frame", pose={**A, "offset": TIP}, frame=B, parts=["position"]),
        _rows(lambda k: turn(QB[k]).T @ (PA[k] + turn(QA[k]) @ TIP_STEP - PB[k])),
        term("pose_in_frame", pose=A, frame=B, parts=["position"]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_relation_by_hand(tmp_path: Path, case: str) -> None:
    one, expected, mutation = CASES[case]
    assert meets(_run(tmp_path, one, expected.shape[1]), expected)
    assert not meets(_run(tmp_path, mutation, expected.shape[1]), expected)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (_difference("world", {**A, "offset": {"rpy": [0, 0, 0], "quaternion": [0, 0, 0, 1]}}),
         "a.offset: expected one of `rpy` and `quaternion`, got both"),
        (_difference("world", {**A, "offset": {"quaternion": [1, 1, 0, 0]}}), "length 1"),
        (_difference("a", {"input": "point", "field": "point"}), "a Pose: position x, y, z and"),
        (_relative("b_inverse_a", SIX, {"input": "point", "field": "point"}), "a quaternion x, y"),
        (_relative("b_inverse_a", SIX, {**IN_A, "chain": CHAIN}), "a.joints_input"),
        (_relative("b_inverse_a", SIX, {**IN_A, "joints_input": "joints",
                                        "chain": [{"joint": "a", "axis": [0, 0, 0]}]}), "not 0"),
    ],
)  # fmt: skip
def test_relations_that_do_not_fit(tmp_path: Path, one: dict[str, Any], expected: str) -> None:
    assert expected in refused(rig_of, tmp_path, [one], INPUTS, 6)[0]
