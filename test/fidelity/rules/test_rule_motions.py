"""Reference motions: future rows, speed, a start by a topic, bodies, against loops by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import refused, term
from fidelity_rig import JOINTS
from rules_rig import BOOL, TICKS, meets, observed_rows, rig_of
from test_rule_relations import ODOM, PA, QA, turn

RANDOM = np.random.default_rng(77)
ROWS = 130
POS, VEL = RANDOM.normal(size=(ROWS, 2)), RANDOM.normal(size=(ROWS, 2))
PLACES = RANDOM.normal(size=(ROWS, 2, 3))
TURNS = RANDOM.normal(size=(ROWS, 2, 4))  # w, x, y, z
TURNS /= np.linalg.norm(TURNS, axis=2, keepdims=True)
SWITCH = np.array([(k // 9) % 4 in (1, 2) for k in range(TICKS)])


def _run(folder: Path, terms: list[dict[str, Any]], size: int, **motion: Any) -> np.ndarray:
    np.savez(
        folder / "walk.npz", joint_pos=POS, joint_vel=VEL, body_pos_w=PLACES, body_quat_w=TURNS,
        fps=np.array([50.0]), joint_names=np.array(["a", "b"]),
        body_names=np.array(["pelvis", "hand"]),
    )  # fmt: skip
    inputs = {"odom": ODOM} if "'odom'" in str(terms) else {}
    inputs |= {"switch": BOOL} if "trigger" in motion else {}
    walk = {"file": "walk.npz", "end": "hold", **motion}
    rig = rig_of(folder, terms, inputs, size, motions={"walk": walk})

    def feed(k: int, now_ns: int) -> None:
        if "odom" in inputs:
            whole = {"pose.pose": [*PA[k], *QA[k]], "pose.pose.orientation": QA[k]}
            paths = rig.pipeline.slots["odom"].arrays
            rig.feed("odom", now_ns, **{p.replace(".", "__"): whole[p] for p in paths})
        if "switch" in inputs:
            rig.feed("switch", now_ns, data=[float(SWITCH[k])])

    return observed_rows(rig, feed)


def _row(x: float, rows: np.ndarray, loop: bool = False, start: int = 0) -> np.ndarray:
    last = len(rows) - 1
    if x > last:
        x = start + (x - start) % (last - start + 1) if loop else float(last)
    i = math.floor(x)
    j = i + 1 if i < last else (start if loop else last)
    return rows[i] * (1 - (x - i)) + rows[j] * (x - i)


def _future(loop: bool) -> np.ndarray:
    rows = []
    for k in range(TICKS):
        later = [k + 3 + ahead for ahead in (0, 1, 6)]
        parts = [_row(x, table, loop, 3) for x in later for table in (POS, VEL)]
        rows.append(np.concatenate(parts))
    return np.array(rows)


def _started() -> np.ndarray:
    rows, k0, before = [], None, False
    for k in range(TICKS):
        if SWITCH[k] and not before:
            k0 = k
        before = bool(SWITCH[k])
        rows.append(_row(0 if k0 is None else k - k0, POS))
    return np.array(rows)


def _paused() -> np.ndarray:
    rows, passed = [], 0
    for k in range(TICKS):
        rows.append(_row(passed, POS))
        passed += int(SWITCH[k])
    return np.array(rows)


def _xyzw(row: int, body: int) -> np.ndarray:
    return TURNS[min(row, ROWS - 1), body][[1, 2, 3, 0]]


def _hand_in_pelvis(ahead: int) -> np.ndarray:
    rows = []
    for k in range(TICKS):
        row = min(k + ahead, ROWS - 1)
        rows.append(turn(_xyzw(row, 0)).T @ (PLACES[row, 1] - PLACES[row, 0]))
    return np.array(rows)


def _pelvis_from_the_robot() -> np.ndarray:
    # mjlab (motion_anchor_pos_b): T_robot^-1 T_reference.
    return np.array([
        turn(QA[k]).T @ (PLACES[min(k, ROWS - 1), 0] - PA[k]) for k in range(TICKS)
    ])  # fmt: skip


def _six_in_robot() -> np.ndarray:
    return np.array([
        (turn(QA[k]).T @ turn(_xyzw(k, 1)))[:, :2].reshape(-1) for k in range(TICKS)
    ])  # fmt: skip


def _half_way() -> np.ndarray:
    """Return the hand's orientation at half speed: at odd ticks half of the turn to the next."""
    rows = []
    for k in range(TICKS):
        i = k // 2
        a = turn(_xyzw(i, 1))
        if k % 2:
            r = a.T @ turn(_xyzw(i + 1, 1))
            angle = math.acos(max(-1.0, min(1.0, (np.trace(r) - 1) / 2)))
            w = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
            w /= 2 * math.sin(angle)
            cross = np.array([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])
            half = angle / 2
            a = a @ (np.eye(3) + math.sin(half) * cross + (1 - math.cos(half)) * cross @ cross)
        rows.append((turn(QA[k]).T @ a).reshape(-1))
    return np.array(rows)


BOTH = ["joint_position", "joint_velocity"]
ROBOT = {"input": "odom", "field": "pose.pose"}
PELVIS, HAND = {"motion": "walk", "body": "pelvis"}, {"motion": "walk", "body": "hand"}


def _joints(**keys: Any) -> dict[str, Any]:
    return term("motion", motion="walk", **keys)


def _difference(a: Any, b: Any, axes: str, **keys: Any) -> dict[str, Any]:
    return term("position_difference", a=a, b=b, axes=axes, **keys)


def _relative(parts: list[str]) -> dict[str, Any]:
    return term("relative_rotation", a=HAND, b=ROBOT, product="b_inverse_a", parts=parts)


LATER = {"row": 5}
HELD, LOOPED = {"start": 3}, {"start": 3, "end": "loop"}
# name: (term, keys of the motion, reference, mutated term, mutated keys of the motion)
CASES: dict[str, tuple[Any, dict[str, Any], np.ndarray, Any, dict[str, Any]]] = {
    "rows to come": (
        _joints(values=BOTH, rows=[0, 1, 6]), HELD, _future(False),
        _joints(values=BOTH, rows=[0, 1, 6], layout="by_value"), HELD,
    ),
    "rows to come in a loop": (
        _joints(values=BOTH, rows=[0, 1, 6]), LOOPED, _future(True),
        _joints(values=BOTH, rows=[0, 1, 6]), HELD,
    ),
    "speed as a factor": (
        _joints(), {"speed": 0.3}, np.array([_row(0.3 * k, POS) for k in range(TICKS)]),
        _joints(), {"speed": 0.31},
    ),
    "speed as a factor in a loop": (
        _joints(), {"speed": 2.5, "end": "loop"},
        np.array([_row(2.5 * k, POS, True) for k in range(TICKS)]), _joints(), {"speed": 2.5},
    ),
    "started by a topic": (
        _joints(), {"trigger": {"input": "switch", "mode": "start"}}, _started(),
        _joints(), {"trigger": {"input": "switch", "mode": "run"}},
    ),
    "paused by a topic": (
        _joints(), {"trigger": {"input": "switch", "mode": "run"}}, _paused(), _joints(), {},
    ),
    "a body in another one's axes, rows later": (
        _difference({**HAND, **LATER}, {**PELVIS, **LATER}, "b"), {}, _hand_in_pelvis(5),
        _difference(HAND, {**PELVIS, **LATER}, "b"), {},
    ),
    "the reference in the robot's axes": (
        _difference(PELVIS, ROBOT, "b"), {}, _pelvis_from_the_robot(),
        _difference(PELVIS, ROBOT, "world"), {},
    ),
    "a difference in a third body's axes": (
        _difference(HAND, PELVIS, "frame", frame={"input": "odom",
                                                  "field": "pose.pose.orientation"}), {},
        np.array([turn(QA[k]).T @ (PLACES[min(k, ROWS - 1), 1] - PLACES[min(k, ROWS - 1), 0])
                  for k in range(TICKS)]),
        _difference(HAND, PELVIS, "b"), {},
    ),
    "orientation of a body in the robot": (
        _relative(["rotation_6d_rows"]), {}, _six_in_robot(),
        _relative(["rotation_6d_columns"]), {},
    ),
    "orientations between two rows": (
        _relative(["matrix"]), {"speed": 0.5}, _half_way(), _relative(["matrix"]), {"speed": 0.52},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_motion_by_hand(tmp_path: Path, case: str) -> None:
    one, keys, expected, other, changed = CASES[case]
    assert meets(_run(tmp_path, [one], expected.shape[1], **keys), expected)
    assert not meets(_run(tmp_path, [other], expected.shape[1], **changed), expected)


def test_the_names_of_rows_to_come(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", joint_pos=POS, fps=[50.0], joint_names=np.array(["a", "b"]))
    walk = {"walk": {"file": "w.npz", "end": "hold"}}
    rig = rig_of(tmp_path, [_joints(rows=[0, 2])], {}, 4, motions=walk)
    ((_, names),) = rig.pipeline.observations.values()
    assert names == ["motion/a+0", "motion/b+0", "motion/a+2", "motion/b+2"]


@pytest.mark.parametrize(
    ("one", "keys", "expected"),
    [
        (_difference({"motion": "walk"}, ROBOT, "b"), {}, "`motion` with `body`"),
        (_difference({**HAND, "input": "odom"}, ROBOT, "b"), {}, "`motion` with `body`, without"),
        (_difference({"input": "odom", "row": 3}, ROBOT, "b"), {}, "`input`, or `motion` with"),
        (_difference({**HAND, "body": "hnd"}, ROBOT, "b"), {}, "did you mean 'hand'?"),
        (_difference(HAND, ROBOT, "frame"), {}, "`frame` exactly with axes frame, got none"),
        (_joints(), {"trigger": {"input": "joints", "mode": "run"}}, "a std_msgs/msg/Bool"),
    ],
)
def test_motions_that_do_not_fit(
    tmp_path: Path, one: dict[str, Any], keys: dict[str, Any], expected: str
) -> None:
    _run(tmp_path, [_joints()], 2)  # writes the file
    walk = {"file": "walk.npz", "end": "hold", **keys}
    inputs = {"odom": ODOM, "joints": JOINTS}
    sentences = refused(rig_of, tmp_path, [one], inputs, 3, motions={"walk": walk})
    assert expected in sentences[0], sentences
