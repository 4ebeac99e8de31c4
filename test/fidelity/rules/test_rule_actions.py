"""Actions that depend on the measured state, and rounded ones, against loops by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import FakeModel, make_rig, refused, spec_content, term
from fidelity_rig import IMU, JOINTS
from rules_rig import DT, PERIOD_NS, TICKS, meets
from test_rule_relations import QA, turn

from policy_runner.core.safety.decision import Decision

RANDOM = np.random.default_rng(25)
Q, DQ = RANDOM.normal(size=(TICKS, 2)), 4.0 * RANDOM.normal(size=(TICKS, 2))
RAW = RANDOM.normal(size=(TICKS, 3)).astype(np.float32).astype(float)  # row k: of inference k
KP, KD, MOST = np.array([40.0, 20.0]), np.array([1.5, 0.5]), np.array([12.0, 8.0])
POSE = np.array([0.3, -0.7])
LEGS: dict[str, Any] = {
    "kind": "position", "joints": ["a", "b"], "scale": 0.5, "clip_raw": [-1.5, 1.5],
    "relative_to": "default_joint_pos",
}  # fmt: skip
KEYS = {"stiffness": {"a": 40, "b": 20}, "damping": [1.5, 0.5], "effort_limit": [12, 8]}


def _run(folder: Path, group: dict[str, Any], last: str, decimation: int) -> np.ndarray:
    """Return per tick: the command, and the last action of the newest inference."""
    inputs = {"joints": JOINTS} if "limit_torque" in group else {}
    inputs |= {"imu": IMU} if "rotate" in group else {}
    content = spec_content(
        inputs={name: {"type": kind, "topic": name} for name, kind in inputs.items()},
        control_dt=DT * decimation, default_joint_pos=POSE.tolist(), last_action=last, **KEYS,
    )  # fmt: skip
    content["observation"][0]["terms"] = [term("last_action")]
    content["action"][0]["groups"] = [group]
    count = len(group.get("joints") or group.get("axes") or group.get("elements"))

    def compute(_inputs: Any) -> dict[str, Any]:
        return {"act": [RAW[model.runs - 1, :count]]}

    model = FakeModel({"obs": (1, count)}, {"act": (1, count)}, compute)
    rig = make_rig(folder, content, model, period_ns=PERIOD_NS, decimation=decimation)
    rows = []
    for k in range(TICKS):
        now_ns = (k + 1) * PERIOD_NS
        if "joints" in inputs:
            rig.joints("joints", now_ns, ["b", "a"], position=Q[k][::-1], velocity=DQ[k][::-1])
        if "imu" in inputs:
            rig.feed("imu", now_ns, orientation=QA[k])
        step = rig.pipeline.step(now_ns)
        assert step.decision is Decision.RUN, rig.pipeline.safety.detail
        assert step.command is not None
        rows.append([*step.command, *model.seen[-1]["obs"].reshape(-1)])
    return np.array(rows)


def _bounded(action: np.ndarray, k: int) -> np.ndarray:
    # tron1-rl-deploy-ros (PointfootController.cpp): bounds of the action, its scale is 0.5.
    low = Q[k] - POSE + (KD * DQ[k] - MOST) / KP
    high = Q[k] - POSE + (KD * DQ[k] + MOST) / KP
    return np.maximum(low / 0.5, np.minimum(high / 0.5, action))


def _limited(every_tick: bool, decimation: int, last: str) -> np.ndarray:
    rows, shown, inference = [], np.zeros(2), 0
    action, before = np.zeros(2), np.zeros(2)
    for k in range(TICKS):
        if k % decimation == 0:
            shown = before.copy()
            raw = RAW[inference, :2]
            action = np.clip(raw, -1.5, 1.5)
            inference += 1
        if every_tick or k % decimation == 0:
            action = _bounded(action, k)
        target = action * 0.5 + POSE
        before = {"clipped": action, "target": target, "raw": raw}[last].copy()
        rows.append([*target, *shown])
    return np.array(rows)


def _limit(every: str, **keys: Any) -> dict[str, Any]:
    return {**LEGS, "limit_torque": {"every": every, **keys}}


CASES: dict[str, tuple[dict[str, Any], str, int, np.ndarray, dict[str, Any]]] = {
    "at every inference": (
        _limit("inference"), "clipped", 4, _limited(False, 4, "clipped"), _limit("tick")
    ),
    "at every tick": (
        _limit("tick"), "clipped", 4, _limited(True, 4, "clipped"), _limit("inference")
    ),
    "the last action is the target": (
        _limit("tick"), "target", 2, _limited(True, 2, "target"), _limit("inference")
    ),
    "the last action is raw": (
        _limit("tick", limit={"a": 12.0, "b": 8.0}, stiffness=[40.0, 20.0]), "raw", 3,
        _limited(True, 3, "raw"), _limit("tick", limit=[12.0, 9.0])
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_limited_torque_by_hand(tmp_path: Path, case: str) -> None:
    group, last, decimation, expected, mutation = CASES[case]
    found = _run(tmp_path, group, last, decimation)
    assert meets(found, expected)
    assert not meets(_run(tmp_path, mutation, last, decimation), expected)
    assert not meets(_run(tmp_path, LEGS, last, decimation), expected)


def test_the_torque_stays_within_its_limit(tmp_path: Path) -> None:
    found = _run(tmp_path, _limit("tick"), "clipped", 4)[:, :2]
    assert np.all(np.abs(KP * (found - Q) - KD * DQ) <= MOST + 1e-9)


TWIST = {"kind": "twist", "axes": ["linear.x", "linear.y", "linear.z"], "scale": 2.0,
         "clip": [-1.5, 1.5]}  # fmt: skip


def _turned(inverse: bool, yaw: bool) -> np.ndarray:
    rows, last = [], np.zeros(3)
    for k in range(TICKS):
        r = turn(QA[k])
        if yaw:
            c, s = r[0, 0], r[1, 0]
            n = np.hypot(c, s)
            r = np.array([[c, -s, 0], [s, c, 0], [0, 0, n]]) / n
        v = np.clip((r.T if inverse else r) @ (2.0 * RAW[k]), -1.5, 1.5)
        rows.append([*v, *last])
        last = RAW[k]
    return np.array(rows)


def _rotate(**keys: Any) -> dict[str, Any]:
    return {**TWIST, "rotate": {"input": "imu", **keys}}


PLANE = {"kind": "twist", "axes": ["linear.y", "linear.x", "angular.z"], "scale": 2.0}


def _turned_plane() -> np.ndarray:
    rows, last = [], np.zeros(3)
    for k in range(TICKS):
        r = turn(QA[k])
        yaw = np.arctan2(r[1, 0], r[0, 0])
        y, x, w = 2.0 * RAW[k]
        c, s = np.cos(yaw), np.sin(yaw)
        rows.append([-s * x + c * y, c * x + s * y, w, *last])
        last = RAW[k]
    return np.array(rows)


@pytest.mark.parametrize(
    ("group", "expected", "mutation"),
    [
        (_rotate(to="body"), _turned(True, False), _rotate(to="world")),
        (_rotate(to="world"), _turned(False, False), _rotate(to="world", part="yaw")),
        (_rotate(to="body", part="yaw"), _turned(True, True), _rotate(to="body")),
        ({**PLANE, "rotate": {"input": "imu", "to": "body", "part": "yaw",
                              "vectors": [["linear.x", "linear.y"]]}},
         _turned_plane(),
         {**PLANE, "rotate": {"input": "imu", "to": "body", "part": "yaw",
                              "vectors": [["linear.y", "linear.x"]]}}),
    ],
)  # fmt: skip
def test_a_rotated_action_by_hand(
    tmp_path: Path, group: dict[str, Any], expected: np.ndarray, mutation: dict[str, Any]
) -> None:
    assert meets(_run(tmp_path, group, "raw", 1), expected)
    assert not meets(_run(tmp_path, mutation, "raw", 1), expected)


def test_a_bad_orientation_is_named(tmp_path: Path) -> None:
    content = spec_content(inputs={"imu": {"type": IMU, "topic": "imu"}})
    content["observation"][0]["terms"] = [term("first_step")]
    content["action"][0]["groups"] = [_rotate(to="body")]
    rig = make_rig(tmp_path, content, FakeModel({"obs": (1, 1)}, {"act": (1, 3)}))
    rig.feed("imu", PERIOD_NS, orientation=[0.0, 0.0, 0.0, 2.0])
    assert rig.pipeline.step(PERIOD_NS).decision is Decision.SAFE_STOP
    assert "the action is turned by a quaternion of squared norm 4" in rig.pipeline.safety.detail


def _rounded(of: str, step: float) -> np.ndarray:
    rows, last = [], np.zeros(2)
    for k in range(TICKS):
        action = np.clip(RAW[k, :2], -1.5, 1.5)
        if of == "raw":
            action = np.array([round(x / step) for x in action.tolist()]) * step
        target = action * 0.5 + POSE
        if of == "target":
            target = np.array([round(x / step) for x in target.tolist()]) * step
        rows.append([*target, *last])
        last = action
    return np.array(rows)


@pytest.mark.parametrize("of", ["raw", "target"])
def test_a_rounded_action_by_hand(tmp_path: Path, of: str) -> None:
    expected = _rounded(of, 0.1)
    group = {**LEGS, "round": {"step": {".*": 0.1}, "of": of}}
    assert meets(_run(tmp_path, group, "clipped", 1), expected)
    other = {**LEGS, "round": {"step": 0.1, "of": "target" if of == "raw" else "raw"}}
    assert not meets(_run(tmp_path, other, "clipped", 1), expected)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (_limit("tick", input="imu"), "an input of type sensor_msgs/msg/JointState (joints)"),
        ({**_limit("tick"), "relative_to": "previous_target"}, "default_joint_pos for every: tick"),
        ({**_limit("inference"), "ema": 0.5}, "no `ema`"),
        ({**_limit("inference"), "scale": [0.5, 0]}, "a scale that is not 0"),
        (_limit("inference", stiffness=0.0), "limit_torque.stiffness: expected numbers above 0"),
        (_limit("inference", limit=-1.0), "limit_torque.limit: expected numbers from 0 on"),
        ({**TWIST, "limit_torque": {"every": "tick"}}, "a group of kind position, got twist"),
        ({**LEGS, "rotate": {"input": "imu", "to": "body"}, "limit_torque": None},
         "rotate: expected 3 elements per vector, got 2"),
        (_rotate(to="body", vectors=[["linear.x", "linear.y", "linear.x"]]), "at most once"),
        ({**LEGS, "round": {"step": -1.0, "of": "raw"}}, "round.step: expected steps above 0"),
    ],
)  # fmt: skip
def test_actions_that_do_not_fit(tmp_path: Path, group: dict[str, Any], expected: str) -> None:
    assert expected in "\n".join(refused(_run, tmp_path, group, "clipped", 1))
