"""Reference motions: rows by joint name, their ends, and the reference in the robot's frame."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, Rig, make_rig, refused, term
from fidelity_rig import IMU, JOINTS, FakeModel, fault, observed, terms_content

from policy_runner.core.observation.terms.rotation import from_euler, matrix, multiply

ROWS = 4


def _write(folder: Path, suffix: str = ".npz", **changes: Any) -> dict[str, Any]:
    """Write a motion of four rows: b is 10 + row, a is 20 + row; the trunk turns 0.1 rad a row."""
    rows = np.arange(ROWS, dtype=np.float64)
    turns = [from_euler(0.05, -0.02, 0.3 + 0.1 * row) for row in rows]
    if suffix == ".csv":
        names = [
            "b",
            "a",
            "a/velocity",
            "b/velocity",
            "trunk/qw",
            "trunk/qx",
            "trunk/qy",
            "trunk/qz",
        ]
        lines = [",".join(names)]
        for row, (x, y, z, w) in zip(rows, turns):
            cells = [10 + row, 20 + row, 2 + row, 1 + row, w, x, y, z]
            lines.append(",".join(repr(float(cell)) for cell in cells))
        (folder / "walk.csv").write_text("\n".join(lines) + "\n")
        return {"file": "walk.csv", "dt": 0.01, "end": "hold", **changes}
    arrays: dict[str, Any] = {
        "joint_pos": np.stack([10 + rows, 20 + rows], axis=1),
        "joint_vel": np.stack([1 + rows, 2 + rows], axis=1),
        "body_quat_w": np.array([[[0, 1, 0, 0], [w, x, y, z]] for x, y, z, w in turns]),
        "joint_names": np.array(["b", "a"]),
        "body_names": np.array(["pelvis", "trunk"]),
        "fps": np.array([100.0]),
    }
    arrays.update(changes.pop("arrays", {}))
    np.savez(folder / "walk.npz", **{k: v for k, v in arrays.items() if v is not None})
    return {"file": "walk.npz", "end": "hold", **changes}


def _rig(folder: Path, terms: list[dict[str, Any]], size: int, **motion: Any) -> Rig:
    inputs = {"imu": IMU, "joints": JOINTS}
    if not any(t["term"] == "motion_orientation" for t in terms):
        inputs = {}
    elif not any(t.get("joints_input") for t in terms):
        del inputs["joints"]
    content = terms_content(terms, inputs, motions={"walk": _write(folder, **motion)})
    return make_rig(folder, content, FakeModel({"obs": np.zeros((1, size))}, {"act": (1, 2)}))


BOTH = term("motion", motion="walk", values=["joint_position", "joint_velocity"])


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_rows_by_joint_name(tmp_path: Path, suffix: str) -> None:
    rig = _rig(tmp_path, [BOTH], 4, suffix=suffix)
    # In the order of joint_names, a b; the file has b a.
    for k in (0, 1, 2, 3, 3, 3):
        assert observed(rig, MS) == [20 + k, 10 + k, 2 + k, 1 + k]
    rig.pipeline.reset()
    assert observed(rig, MS)[0] == 20


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"start": 2}, [12, 13, 13, 13]),
        ({"delay": 2}, [10, 10, 10, 11, 12]),
        ({"end": "loop"}, [10, 11, 12, 13, 10, 11]),
        ({"end": "loop", "start": 1, "delay": 1}, [11, 11, 12, 13, 11]),
    ],
)
def test_start_delay_and_end(tmp_path: Path, keys: dict[str, Any], expected: list[int]) -> None:
    rig = _rig(tmp_path, [term("motion", motion="walk", joints=["b"])], 1, **keys)
    assert [observed(rig, MS)[0] for _ in expected] == expected


def test_a_motion_that_stops_holds_the_policy(tmp_path: Path) -> None:
    rig = _rig(tmp_path, [term("motion", motion="walk", joints=["b"])], 1, end="stop")
    assert [observed(rig, MS)[0] for _ in range(ROWS)] == [10, 11, 12, 13]
    assert "the reference motion has ended" in fault(rig, MS)
    assert "the reference motion has ended" in fault(rig, 2 * MS)


def test_terms_of_one_motion_share_its_row(tmp_path: Path) -> None:
    terms = [term("motion", motion="walk", joints=[j], name=j) for j in ("b", "a")]
    rig = _rig(tmp_path, [*terms, term("step_counter")], 3)
    assert [observed(rig, MS) for _ in range(3)] == [[10, 20, 0], [11, 21, 1], [12, 22, 2]]


@pytest.mark.parametrize("align", ["none", "yaw"])
@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_orientation_of_the_reference(tmp_path: Path, align: str, layout: str, suffix: str) -> None:
    keys = {"motion": "walk", "body": "trunk", "input": "imu", "align": align, "layout": layout}
    rig = _rig(tmp_path, [term("motion_orientation", **keys)], 6, suffix=suffix)
    first_yaw = 0.0
    for row in range(3):
        robot = (0.02 * row, 0.03, 1.0 + 0.2 * row)
        rig.feed("imu", MS, orientation=from_euler(*robot))
        if row == 0:
            first_yaw = robot[2] - 0.3 if align == "yaw" else 0.0
        turn = np.array(matrix(from_euler(0, 0, first_yaw))).reshape(3, 3)
        there = np.array(matrix(from_euler(0.05, -0.02, 0.3 + 0.1 * row))).reshape(3, 3)
        here = np.array(matrix(from_euler(*robot))).reshape(3, 3)
        seen = (here.T @ turn @ there)[:, :2]
        expected = seen.ravel() if layout == "rows" else seen.T.ravel()
        assert observed(rig, MS) == pytest.approx(expected.tolist(), abs=1e-9)


def test_a_chain_of_joints_between_sensor_and_body(tmp_path: Path) -> None:
    one = term(
        "motion_orientation", motion="walk", body="trunk", input="imu", align="none",
        layout="rows", joints_input="joints",
        chain=[{"joint": "a", "axis": "z"}, {"joint": "b", "axis": "x"}],
    )  # fmt: skip
    rig = _rig(tmp_path, [one], 6)
    pelvis = from_euler(0.1, 0.0, -0.4)
    rig.feed("imu", MS, orientation=pelvis)
    rig.joints("joints", MS, ["b", "a"], position=[0.2, 0.7])
    trunk = multiply(multiply(pelvis, from_euler(0, 0, 0.7)), from_euler(0.2, 0, 0))
    here = np.array(matrix(trunk)).reshape(3, 3)
    there = np.array(matrix(from_euler(0.05, -0.02, 0.3))).reshape(3, 3)
    assert observed(rig, MS) == pytest.approx((here.T @ there)[:, :2].ravel().tolist(), abs=1e-9)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "another rate": (
        {"arrays": {"fps": np.array([50.0])}},
        "fps: expected rows every 0.01 s (control_dt), got 0.02 s; resample the motion",
    ),
    "no rate": ({"arrays": {"fps": None}}, "fps: expected the key `fps`, or `dt` in the spec"),
    "not a number": (
        {"arrays": {"joint_pos": np.full((ROWS, 2), np.nan)}},
        "joint_position of b: expected finite numbers",
    ),
    "other names": (
        {"arrays": {"joint_names": np.array(["b", "aa"])}},
        "expected joint_position of b, aa, got none of 'a'; did you mean 'aa'?",
    ),
    "names that do not fit": (
        {"arrays": {"joint_names": np.array(["b"])}},
        "joint_pos: expected [rows, 1], one per name, got [4, 2]",
    ),
    "start beyond the end": ({"start": 9}, "more than start (9)"),
    "rows of other lengths": (
        {"arrays": {"joint_vel": np.zeros((3, 2))}}, "as many rows in every column"
    ),
    "no velocities": (
        {"arrays": {"joint_vel": None}}, "expected joint_velocity of anything, got none of 'a'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_motions(tmp_path: Path, case: str) -> None:
    keys, expected = BAD[case]
    sentences = refused(_rig, tmp_path, [BOTH], 4, **keys)
    assert len(sentences) == 1
    assert expected in sentences[0]
    assert str(tmp_path / "walk.npz") in sentences[0]


def test_no_such_motion_and_one_that_nobody_follows(tmp_path: Path) -> None:
    (sentence,) = refused(_rig, tmp_path, [term("motion", motion="wlk")], 2)
    assert sentence.endswith("expected one of motions (walk), got 'wlk'; did you mean 'walk'?")
    (sentence,) = refused(_rig, tmp_path, [term("first_step")], 1)
    assert sentence.endswith("motions.walk: expected a motion that some term follows, got none")


def test_a_body_that_is_not_in_the_motion(tmp_path: Path) -> None:
    one = term(
        "motion_orientation", motion="walk", body="torso", input="imu", align="none", layout="rows"
    )
    (sentence,) = refused(_rig, tmp_path, [one], 6)
    assert "expected quaternion of pelvis, trunk, got none of 'torso'" in sentence


def test_yaw_is_what_it_says() -> None:
    assert math.isclose(from_euler(0, 0, math.pi / 2)[2], math.sqrt(0.5))
