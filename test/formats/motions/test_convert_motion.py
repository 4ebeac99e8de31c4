"""`policy-runner convert motion`, against a loop by hand, and through a policy that follows it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from core_rig import FakeModel, make_rig, term
from fidelity_rig import observed, terms_content
from onnx import TensorProto, helper, numpy_helper

from policy_runner.cli.main import main

RANDOM = np.random.default_rng(91)
SOURCE = 90  # rows at 30 Hz: 149 rows at 50 Hz
JOINTS = ["a", "b", "c"]
POS = np.cumsum(RANDOM.normal(0, 0.05, size=(SOURCE, 3)), axis=0)
PLACE = np.cumsum(RANDOM.normal(0, 0.02, size=(SOURCE, 3)), axis=0)


def _turns() -> np.ndarray:
    """Return random quaternions x, y, z, w, each near the one before, some with the other sign."""
    q = np.cumsum(RANDOM.normal(0, 0.1, size=(SOURCE, 4)), axis=0) + [0.3, -0.2, 0.1, 1.0]
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    q[1::3] *= -1.0
    return q


TURNS = _turns()


def _csv(path: Path, order: tuple[int, ...] = (0, 1, 2, 3)) -> Path:
    table = np.concatenate([PLACE, TURNS[:, order], POS], axis=1)
    np.savetxt(path, table, delimiter=",", fmt="%.12g")
    return path


def _matrix(q: np.ndarray) -> np.ndarray:
    x, y, z, w = q
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def _between(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    """Return R_a times the share of the turn from R_a to R_b, by Rodrigues' formula."""
    r = _matrix(a).T @ _matrix(b)
    angle = math.acos(max(-1.0, min(1.0, (np.trace(r) - 1) / 2)))
    if angle < 1e-9:
        return _matrix(a)
    w = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]]) / (2 * math.sin(angle))
    k = np.array([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])
    part = share * angle
    return _matrix(a) @ (np.eye(3) + math.sin(part) * k + (1 - math.cos(part)) * k @ k)


def _by_hand(fps: float, dt: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return joints, central differences, positions, rotations of every new row."""
    joints, places, turns = [], [], []
    k = 0
    while k * dt <= (SOURCE - 1) / fps + 1e-9:
        x = k * dt * fps
        i = min(int(x), SOURCE - 2)
        s = x - i
        joints.append((1 - s) * POS[i] + s * POS[i + 1])
        places.append((1 - s) * PLACE[i] + s * PLACE[i + 1])
        turns.append(_between(TURNS[i], TURNS[i + 1], s))
        k += 1
    q = np.array(joints)
    velocities = []
    for row in range(len(q)):
        low, high = max(row - 1, 0), min(row + 1, len(q) - 1)
        velocities.append((q[high] - q[low]) / ((high - low) * dt))
    return q, np.array(velocities), np.array(places), np.array(turns)


def _rotations(stored: Any, body: int) -> np.ndarray:
    return np.array([_matrix(q[[1, 2, 3, 0]]) for q in stored["body_quat_w"][:, body]])


def _meets(found: np.ndarray, reference: np.ndarray) -> bool:
    assert found.shape == reference.shape
    return bool(np.all(np.abs(found - reference) <= 1e-4 + 1e-5 * np.abs(reference)))


def _convert(source: Path, out: Path, *arguments: str) -> int:
    return main(["convert", "motion", str(source), "-o", str(out), *arguments])


@pytest.mark.parametrize("fps", [30.0, 60.0])
@pytest.mark.parametrize("order", ["xyzw", "wxyz"])
def test_a_headerless_csv_by_hand(tmp_path: Path, fps: float, order: str) -> None:
    source = _csv(tmp_path / "walk.csv", (0, 1, 2, 3) if order == "xyzw" else (3, 0, 1, 2))
    common = ("--joints", "a,b,c", "--quaternion", order, "--control-dt", "0.02")
    assert _convert(source, tmp_path / "walk.npz", *common, "--fps", f"{fps:g}") == 0
    stored = np.load(tmp_path / "walk.npz")
    q, v, places, turns = _by_hand(fps, 0.02)
    assert len(q) == (149 if fps == 30.0 else 75)
    assert _meets(stored["joint_pos"], q)
    assert _meets(stored["joint_vel"], v)
    assert _meets(stored["body_pos_w"][:, 0], places)
    assert _meets(_rotations(stored, 0), turns)
    assert stored["fps"].tolist() == [50.0]
    assert stored["joint_names"].tolist() == JOINTS
    # A mutation: forward differences are other numbers.
    other = ("--velocities", "forward", "--fps", f"{fps:g}")
    assert _convert(source, tmp_path / "other.npz", *common, *other) == 0
    assert not _meets(np.load(tmp_path / "other.npz")["joint_vel"], v)


def test_a_torso_at_the_end_of_a_chain_by_hand(tmp_path: Path) -> None:
    source = _csv(tmp_path / "walk.csv")
    (tmp_path / "chains.yaml").write_text(
        "torso:\n"
        "  - {joint: b, axis: z}\n"
        "  - {joint: a, axis: [1, 0, 0], origin: {position: [0.0, 0.1, 0.2], rpy: [0, 0, 0.5]}}\n"
    )
    chains = ("--chains", str(tmp_path / "chains.yaml"), "--fps", "30", "--control-dt", "0.02")
    out = tmp_path / "walk.npz"
    assert _convert(source, out, "--joints", "a,b,c", *chains) == 0
    stored = np.load(out)
    assert stored["body_names"].tolist() == ["base", "torso"]
    q, _, places, turns = _by_hand(30.0, 0.02)
    c, s = math.cos(0.5), math.sin(0.5)
    yaw = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    ends, rotations = [], []
    for row in range(len(q)):
        cb, sb, ca, sa = (f(x) for x in (q[row, 1], q[row, 0]) for f in (math.cos, math.sin))
        first = turns[row] @ np.array([[cb, -sb, 0], [sb, cb, 0], [0, 0, 1]])
        ends.append(places[row] + first @ [0.0, 0.1, 0.2])
        rotations.append(first @ yaw @ np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]]))
    assert _meets(stored["body_pos_w"][:, 1], np.array(ends))
    assert _meets(_rotations(stored, 1), np.array(rotations))
    assert not _meets(stored["body_pos_w"][:, 0], np.array(ends))


def test_a_policy_follows_the_converted_motion(tmp_path: Path) -> None:
    source = _csv(tmp_path / "walk.csv")
    out = tmp_path / "walk.npz"
    assert _convert(source, out, "--joints", "a,b,c", "--fps", "30", "--control-dt", "0.01") == 0
    terms = [term("motion", motion="walk", joints=["b", "a"])]
    walk = {"file": "walk.npz", "end": "hold"}
    content = terms_content(terms, {}, motions={"walk": walk})
    rig = make_rig(tmp_path, content, FakeModel({"obs": (1, 2)}, {"act": (1, 2)}))
    q = _by_hand(30.0, 0.01)[0]
    found = np.array([observed(rig, k + 1) for k in range(120)])
    assert _meets(found, q[:120][:, [1, 0]])


def _model(path: Path, rows: int, turns: str = "ref_quat_xyzw") -> Path:
    """Write a model whose outputs are rows of a motion by time_step, clamped, as exporters do."""
    anchor = TURNS[:rows] if turns == "ref_quat_xyzw" else TURNS[:rows][:, [3, 0, 1, 2]]
    stored = {
        "positions": POS[:rows], "velocities": POS[:rows] * 3.0, "anchor": anchor,
        "last": np.array([rows - 1.0]), "first": np.array([0.0]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Min", ["time_step", "last"], ["bounded"]),
        helper.make_node("Cast", ["bounded"], ["row"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["row"], ["index"]),
        helper.make_node("Gather", ["positions", "index"], ["joint_pos"]),
        helper.make_node("Gather", ["velocities", "index"], ["joint_vel"]),
        helper.make_node("Gather", ["anchor", "index"], [turns]),
        helper.make_node("Identity", ["obs"], ["actions"]),
    ]
    graph = helper.make_graph(
        nodes, "motion",
        [helper.make_tensor_value_info("obs", 1, [1, 2]),
         helper.make_tensor_value_info("time_step", 1, [1, 1])],
        [helper.make_tensor_value_info("actions", 1, [1, 2]),
         helper.make_tensor_value_info("joint_pos", 1, [3]),
         helper.make_tensor_value_info("joint_vel", 1, [3]),
         helper.make_tensor_value_info(turns, 1, [4])],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in stored.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    names = "joint_names" if turns == "ref_quat_xyzw" else "dof_names"
    helper.set_model_props(model, {names: "a,b,c", "anchor_body_name": "torso_link"})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("arguments", [(), ("--rows", "80")])
def test_the_outputs_of_a_model(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    out = tmp_path / "walk.npz"
    source = _model(tmp_path / "policy.onnx", 80)
    assert _convert(source, out, "--control-dt", "0.02", *arguments) == 0
    stored = np.load(out)
    assert stored["joint_names"].tolist() == JOINTS
    assert stored["body_names"].tolist() == ["torso_link"]
    assert _meets(stored["joint_pos"], POS[:80])
    assert _meets(stored["joint_vel"], 3.0 * POS[:80])
    assert _meets(_rotations(stored, 0), np.array([_matrix(q) for q in TURNS[:80]]))
    # At another rate the model's velocities are kept, linear in between.
    assert _convert(source, out, "--control-dt", "0.01", "--fps", "50") == 0
    assert _meets(np.load(out)["joint_vel"][1], 1.5 * (POS[0] + POS[1]))


def test_a_quaternion_whose_order_only_the_user_knows(tmp_path: Path) -> None:
    source, out = _model(tmp_path / "policy.onnx", 60, "ref_quat"), tmp_path / "walk.npz"
    expected = np.array([_matrix(q) for q in TURNS[:60]])
    assert _convert(source, out, "--control-dt", "0.02", "--quaternion", "wxyz") == 0
    assert _meets(_rotations(np.load(out), 0), expected)
    assert _convert(source, out, "--control-dt", "0.02", "--quaternion", "xyzw") == 0
    assert not _meets(_rotations(np.load(out), 0), expected)


REFUSED: dict[str, tuple[str, tuple[str, ...], str]] = {
    "no joints": ("walk.csv", ("--fps", "30", "--control-dt", "0.02"), "--joints: expected the"),
    "no rate": ("walk.csv", ("--joints", "a,b,c", "--control-dt", "0.02"), "--fps: expected the"),
    "no time": ("walk.csv", ("--joints", "a,b,c", "--fps", "30"), "--control-dt: expected a time"),
    "too few joints": (
        "walk.csv", ("--joints", "a,b", "--fps", "30", "--control-dt", "0.02"),
        "line 1: expected 9 numbers: position, quaternion, 2 joints, got 10",
    ),
    "a header": (
        "head.csv", ("--joints", "a,b,c", "--fps", "30", "--control-dt", "0.02"),
        "line 1: expected numbers, got 'x'; a table with a header needs no conversion",
    ),
    "the other order": (
        "long.csv", ("--joints", "a,b,c", "--fps", "30", "--control-dt", "0.02"),
        "a quaternion of base, got a squared norm of 4; choose the order with --quaternion",
    ),
    "no file": ("none.csv", ("--control-dt", "0.02"), "none.csv: expected a .csv or .onnx file"),
    "too many rows": (
        "walk.csv", ("--joints", "a,b,c", "--fps", "30", "--control-dt", "1e-7"),
        "walk.csv: expected at most 1000000 rows at the new rate",
    ),
    "kept velocities": (
        "walk.csv",
        ("--joints", "a,b,c", "--fps", "30", "--control-dt", "0.02", "--velocities", "kept"),
        "since the source has no velocities",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    source, arguments, expected = REFUSED[case]
    _csv(tmp_path / "walk.csv")
    (tmp_path / "head.csv").write_text("x,y,z,qx,qy,qz,qw,a,b,c\n" + "0," * 9 + "0\n")
    (tmp_path / "long.csv").write_text(("0,0,0,0,0,0,2,0,0,0\n") * 3)
    assert _convert(tmp_path / source, tmp_path / "out.npz", *arguments) == 1
    assert expected in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out.npz").exists()
