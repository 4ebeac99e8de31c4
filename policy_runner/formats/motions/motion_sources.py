"""Read motions: a headerless CSV, and the outputs of a model that has the motion in its graph.

CSV: one row per line: base position x y z [m], base quaternion, joints [rad]. LAFAN1 retargeted to
Unitree robots is so, x y z w, 30 Hz (mjlab's and whole_body_tracking's csv_to_npz read it).
Model: whole_body_tracking's and mjlab's exporters make outputs by `time_step`: joint_pos,
joint_vel, body_pos_w, body_quat_w (w x y z); holosoma's ref_pos_xyz and ref_quat_xyzw of the
anchor. An output ref_quat has the order that the caller names.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.files.bounded import MOST_STORED, read_bounded
from policy_runner.formats.motions.raw_motion import Array, RawMotion
from policy_runner.formats.onnx_metadata import words

MOST_ROWS = 200_000
STILL = 50  # rows that equal the last row of all end the motion
AFTER_THE_END = 10_000_000  # a time_step behind every motion
Outputs = Callable[[int], Mapping[str, Array]]  # time_step -> the model's outputs, flat


def read_headerless_csv(
    path: Path, joints: Sequence[str], dt: float, quaternion: str, base: str
) -> RawMotion:
    """Read a CSV without a header.

    Args:
        path: the file.
        joints: the joints' names, in the order of the columns.
        dt: time between two rows [s].
        quaternion: order of the quaternion, xyzw or wxyz.
        base: name of the base.

    Raises:
        Refusal: a row has another count of numbers, or a cell is no number.
    """
    content = read_bounded(path, MOST_STORED, "a CSV file of a motion", None)
    wanted = 7 + len(joints)
    rows: list[list[float]] = []
    try:
        lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            if len(line) != wanted:
                expected = f"{wanted} numbers: position, quaternion, {len(joints)} joints"
                raise refuse(str(path), f"line {number}", expected, f"{len(line)}")
            try:
                rows.append([float(cell) for cell in line])
            except ValueError as error:
                bad = next(cell for cell in line if not _is_number(cell))
                remedy = "a table with a header needs no conversion" if number == 1 else ""
                raise refuse(str(path), f"line {number}", "numbers", f"'{bad}'", remedy) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise refuse(str(path), "", "a CSV file of a motion", f"{error}") from error
    table = np.array(rows, dtype=np.float64).reshape(-1, wanted)
    order = [0, 1, 2, 3] if quaternion == "xyzw" else [1, 2, 3, 0]
    motion = RawMotion(
        dt, list(joints), table[:, 7:], None, {base: table[:, :3]}, {base: table[:, 3:7][:, order]}
    )
    motion.check(str(path))
    return motion


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def from_model(
    outputs: Outputs, metadata: Mapping[str, str], joints: Sequence[str] | None, rows: int | None,
    dt: float, quaternion: str, file: str,
) -> RawMotion:  # fmt: skip
    """The motion in a model's outputs.

    Args:
        outputs: runs the model at a time_step.
        metadata: of the model: joint_names, body_names, anchor_body_name.
        joints: the joints' names; None: from the metadata.
        rows: number of rows; None: up to the row from which all outputs stay.
        dt: time between two rows [s].
        quaternion: order of an output ref_quat, xyzw or wxyz.
        file: the model file, for error messages.

    Raises:
        Refusal: the model has no such outputs, their sizes do not fit the names, or the outputs
            never stay and `rows` is not given.
    """
    first = outputs(0)
    if "joint_pos" not in first:
        expected = "an output joint_pos by the input time_step"
        raise refuse(file, "", expected, f"outputs {', '.join(first)}")
    known = metadata.get("joint_names") or metadata.get("dof_names", "")
    names = list(joints) if joints is not None else words(known)
    if len(names) != first["joint_pos"].size:
        expected = f"{first['joint_pos'].size} joint names, one per number of joint_pos"
        remedy = "give them with --joints" if joints is None else ""
        raise refuse(file, "joint_names", expected, f"{len(names)}", remedy)
    kept = [name for name in first if name in _KNOWN]
    table = _all_rows(outputs, kept, rows, file)
    if "ref_quat" in table:
        order = [0, 1, 2, 3] if quaternion == "xyzw" else [1, 2, 3, 0]
        table["ref_quat_xyzw"] = table["ref_quat"][:, order]
    body_pos, body_quat = _bodies(table, metadata, file)
    motion = RawMotion(dt, names, table["joint_pos"], table.get("joint_vel"), body_pos, body_quat)
    motion.check(file)
    return motion


_KNOWN = (
    "joint_pos",
    "joint_vel",
    "body_pos_w",
    "body_quat_w",
    "ref_pos_xyz",
    "ref_quat_xyzw",
    "ref_quat",
)


def _all_rows(
    outputs: Outputs, kept: Sequence[str], rows: int | None, file: str
) -> dict[str, Array]:
    found: dict[str, list[Array]] = {name: [] for name in kept}
    last = outputs(AFTER_THE_END) if rows is None else {}
    still = 0
    for step in range(rows if rows is not None else MOST_ROWS):
        now = outputs(step)
        for name in kept:
            found[name].append(np.array(now[name], dtype=np.float64).reshape(-1))
        if rows is None:
            same = all(np.array_equal(now[name], last[name]) for name in kept)
            still = still + 1 if same else 0
            if still == STILL:
                break
    else:
        if rows is None:
            expected = f"outputs that stay behind the motion's end, within {MOST_ROWS} rows"
            raise refuse(file, "time_step", expected, "none", "give the count with --rows")
    end = len(found[kept[0]]) - max(still - 1, 0)
    return {name: np.array(given[:end]) for name, given in found.items()}


def _bodies(
    table: Mapping[str, Array], metadata: Mapping[str, str], file: str
) -> tuple[dict[str, Array], dict[str, Array]]:
    body_pos: dict[str, Array] = {}
    body_quat: dict[str, Array] = {}
    if "body_quat_w" in table or "body_pos_w" in table:
        names = words(metadata.get("body_names", ""))
        for key, width, into in (("body_pos_w", 3, body_pos), ("body_quat_w", 4, body_quat)):
            if key not in table:
                continue
            count = table[key].shape[1] // width
            if count != len(names):
                expected = f"{count} body names in the metadata, as {key} has"
                raise refuse(file, "body_names", expected, f"{len(names)}")
            rows = table[key].reshape(-1, count, width)
            for k, name in enumerate(names):
                one = rows[:, k]
                into[name] = one[:, [1, 2, 3, 0]] if width == 4 else one
    anchor = metadata.get("anchor_body_name", "anchor")
    if "ref_quat_xyzw" in table:
        body_quat.setdefault(anchor, table["ref_quat_xyzw"])
    if "ref_pos_xyz" in table:
        body_pos.setdefault(anchor, table["ref_pos_xyz"])
    return body_pos, body_quat
