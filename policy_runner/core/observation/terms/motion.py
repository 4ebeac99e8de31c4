"""Reference motions: a table of rows that a policy follows, from .npz or .csv, joints by name.

.npz: `joint_pos` and `joint_vel` [rows, joints] (rad, rad/s), `body_quat_w` [rows, bodies, 4],
`fps` (or the spec's `dt`), `joint_names` and `body_names` (or the spec's). Arrays that no term
needs may be absent. .csv: a header, one row per line; columns `<joint>`, `<joint>/velocity`, and
`<body>/qx`, `/qy`, `/qz`, `/qw`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.files.arrays import npz_arrays
from policy_runner.core.files.bounded import MOST_STORED, read_bounded
from policy_runner.core.inputs.slot import Read
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.bodies.poses import chain_reader
from policy_runner.core.observation.terms.counters import Counter
from policy_runner.core.observation.terms.orientation import attitude
from policy_runner.core.observation.terms.rotation import (
    Quaternion,
    conjugate,
    matrix,
    multiply,
    six_numbers,
    unit,
    yaw_only,
)
from policy_runner.core.observation.terms.sources import (
    CompiledTerm,
    Sources,
    absolute,
    compiles,
    joint_index,
)
from policy_runner.core.spec import Motion, MotionOrientationTerm, MotionTerm

_NPZ = {"joint_position": "joint_pos", "joint_velocity": "joint_vel"}
# numpy raises SystemError for invalid Unicode.
_DAMAGED = (ValueError, TypeError, KeyError, IndexError, OverflowError, SystemError, csv.Error)


@dataclass
class MotionTable:
    """The columns of one motion by name, and the clock that selects the current row."""

    file: str
    columns: Mapping[str, Mapping[str, Array]]  # joint_position, joint_velocity, quaternion
    rows: int
    clock: Counter
    stops: bool

    @property
    def row(self) -> int:
        """Index of the current row."""
        return int(self.clock.value)

    @property
    def fault(self) -> str:
        """Why there is no current row, or ''."""
        return "the reference motion has ended" if self.stops and self.clock.ended else ""

    def column(self, kind: str, name: str) -> Array:
        """A joint's numbers, float64 [rows], or a body's quaternions x, y, z, w [rows, 4].

        Args:
            kind: joint_position, joint_velocity or quaternion.
            name: the joint or body.

        Raises:
            Refusal: the file has no such column.
        """
        known = self.columns.get(kind, {})
        if name not in known:
            expected = f"{kind} of {', '.join(known) or 'anything'}"
            raise refuse(self.file, kind, expected, f"none of '{name}'", did_you_mean(name, known))
        return known[name]


def read_motion(path: Path, spec: Motion, control_dt: float) -> MotionTable:
    """Read and check one motion.

    Args:
        path: an .npz or .csv file.
        spec: the motion in the spec.
        control_dt: the policy's time between two inferences [s].

    Raises:
        Refusal: the file is missing, has another sha256, another format or another rate than the
            policy, has numbers that are not finite, or has no rows from `start` on.
    """
    content = read_bounded(path, MOST_STORED, "a motion file (.npz or .csv)", spec.sha256)
    try:
        if path.suffix == ".npz":
            columns, dt = _columns(path, npz_arrays(path, content), spec)
        elif path.suffix == ".csv":
            columns, dt = _read_csv(path, content), None
        else:
            raise refuse(str(path), "", "a file ending in .npz or .csv", f"'{path.suffix}'")
    except _DAMAGED as error:
        got = f"{type(error).__name__}: {error}"
        raise refuse(str(path), "", "a motion file (.npz or .csv)", got) from error
    step = spec.dt if spec.dt is not None else dt
    if step is None:
        raise refuse(str(path), "fps", "the key `fps`, or `dt` in the spec", "none")
    if abs(step - control_dt) > 1e-6 * control_dt:
        expected = f"rows every {control_dt:g} s (control_dt)"
        raise refuse(str(path), "fps", expected, f"{step:g} s", "resample the motion")
    lengths = {len(values) for named in columns.values() for values in named.values()}
    rows = min(lengths, default=0)
    if rows <= spec.start or len(lengths) > 1:
        expected = f"as many rows in every column, and more than start ({spec.start})"
        raise refuse(str(path), "", expected, f"{sorted(lengths)}")
    for kind, named in columns.items():
        for name, values in named.items():
            if not np.all(np.isfinite(values)):
                raise refuse(str(path), f"{kind} of {name}", "finite numbers", "others")
    clock = Counter(float(spec.start), spec.delay, float(rows - 1), spec.end == "loop")
    return MotionTable(str(path), columns, rows, clock, spec.end == "stop")


def _columns(
    path: Path, arrays: Mapping[str, Any], spec: Motion
) -> tuple[dict[str, dict[str, Array]], float | None]:
    def names(key: str, given: list[str] | None) -> list[str]:
        return list(given) if given else [str(name) for name in arrays.get(key, [])]

    columns: dict[str, dict[str, Array]] = {}
    joints, bodies = (
        names("joint_names", spec.joint_names), names("body_names", spec.body_names)
    )  # fmt: skip
    for kind, key in _NPZ.items():
        if key in arrays:
            columns[kind] = _split(path, key, arrays[key], joints)
    if "body_quat_w" in arrays and bodies:
        quaternions = _split(path, "body_quat_w", arrays["body_quat_w"], bodies)
        order = [1, 2, 3, 0] if spec.quaternion == "wxyz" else [0, 1, 2, 3]
        columns["quaternion"] = {name: q[:, order] for name, q in quaternions.items()}
    fps = float(arrays["fps"].reshape(-1)[0]) if "fps" in arrays else 0.0
    return columns, 1.0 / fps if fps > 0 else None


def _split(path: Path, key: str, values: Any, names: list[str]) -> dict[str, Array]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim < 2 or numbers.shape[1] != len(names):
        expected = f"[rows, {len(names)}], one per name"
        raise refuse(str(path), key, expected, f"{list(numbers.shape)}")
    return {name: np.ascontiguousarray(numbers[:, k]) for k, name in enumerate(names)}


def _read_csv(path: Path, content: bytes) -> dict[str, dict[str, Array]]:
    text = io.StringIO(content.decode("utf-8"), newline="")
    header, *lines = [line for line in csv.reader(text) if line]
    if len(set(header)) != len(header):
        raise refuse(str(path), "header", "every column once", "one twice")
    table = np.array([[float(cell) for cell in line] for line in lines], dtype=np.float64)
    named = {name.strip(): table[:, k] for k, name in enumerate(header)}
    columns: dict[str, dict[str, Array]] = {"joint_position": {}, "joint_velocity": {}}
    bodies: dict[str, dict[str, Array]] = {}
    for name, values in named.items():
        owner, slash, part = name.rpartition("/")
        if not slash:
            columns["joint_position"][name] = values
        elif part == "velocity":
            columns["joint_velocity"][owner] = values
        elif part in ("qx", "qy", "qz", "qw"):
            bodies.setdefault(owner, {})[part] = values
        else:
            expected = "<joint>, <joint>/velocity, or <body>/qx, /qy, /qz, /qw"
            raise refuse(str(path), "header", expected, f"'{name}'")
    columns["quaternion"] = {
        name: np.stack([parts[p] for p in ("qx", "qy", "qz", "qw")], axis=1)
        for name, parts in bodies.items()
    }
    return {kind: named for kind, named in columns.items() if named}


def _table(name: str, sources: Sources, key: str) -> MotionTable:
    known = sources.motions.get(name)
    if isinstance(known, MotionTable):
        return known
    motions = sources.spec.motions
    if name not in motions:
        expected = f"one of motions ({', '.join(motions) or 'none'})"
        hint = did_you_mean(name, motions)
        raise refuse(sources.file, f"{key}.motion", expected, f"'{name}'", hint)
    spec = motions[name]
    assert sources.beside is not None
    path = sources.beside(spec.file, f"motions.{name}.file")
    table = read_motion(path, spec, sources.spec.control_dt)
    sources.motions[name] = table
    sources.clocks.append(table.clock)
    return table


@compiles(MotionTerm)
def motion_rows(term: MotionTerm, sources: Sources, key: str) -> CompiledTerm:
    """The joint positions or velocities of the current row, or both."""
    table = _table(term.motion, sources, key)
    names = sources.spec.joint_names
    wanted = list(term.joints) if term.joints is not None else list(names)
    joint_index(names, wanted, sources.file, f"{key}.joints")
    cells = [(kind, joint) for kind in term.values for joint in wanted]
    rows = np.stack([table.column(kind, joint) for kind, joint in cells], axis=1)
    if len(term.values) == 1:
        elements = tuple(wanted)
    else:
        elements = tuple(f"{kind.removeprefix('joint_')}/{joint}" for kind, joint in cells)

    def bind(out: Array) -> Read:
        def read() -> str:
            np.copyto(out, rows[table.row])
            return table.fault

        return read

    return absolute(term.name or "motion", elements, bind)


@compiles(MotionOrientationTerm)
def motion_orientation(term: MotionOrientationTerm, sources: Sources, key: str) -> CompiledTerm:
    """The first two columns of R(robot body)^T R(reference body)."""
    table = _table(term.motion, sources, key)
    reference = table.column("quaternion", term.body)
    measured = attitude(term.input, term.field, sources, key)
    chain = chain_reader(term.chain, term.joints_input, sources, key)
    layout, align = term.layout, term.align == "yaw"
    aligned: Quaternion = (0.0, 0.0, 0.0, 1.0)

    def at(row: int) -> Quaternion | str:
        x, y, z, w = reference[row].tolist()
        return unit((x, y, z, w))

    def bind(out: Array) -> Read:
        def read() -> str:
            nonlocal aligned
            robot, there = measured(), at(table.row)
            if isinstance(robot, str):
                return robot
            if isinstance(there, str):
                return f"the reference has {there}"
            if chain is not None:
                robot = multiply(robot, chain()[1])
            if align and table.clock.steps == 0:
                aligned = multiply(yaw_only(robot), conjugate(yaw_only(there)))
            seen = multiply(conjugate(robot), multiply(aligned, there))
            out[:] = six_numbers(matrix(seen), layout)
            return table.fault

        return read

    rows = ("R00", "R01", "R10", "R11", "R20", "R21")
    elements = rows if layout == "rows" else ("R00", "R10", "R20", "R01", "R11", "R21")
    return absolute(term.name or "motion_orientation", elements, bind)
