"""The table of a reference motion, from .npz or .csv, joints and bodies by name.

.npz: `joint_pos` and `joint_vel` [rows, joints] (rad, rad/s), `body_quat_w` [rows, bodies, 4],
`body_pos_w` [rows, bodies, 3] (m), `fps` (or the spec's `dt`), `joint_names` and `body_names` (or
the spec's). Arrays that no term needs may be absent. .csv: a header, one row per line; columns
`<joint>`, `<joint>/velocity`, and `<body>/qx`, `/qy`, `/qz`, `/qw`, `/x`, `/y`, `/z`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.files.arrays import npz_arrays
from policy_runner.core.files.bounded import MOST_STORED, read_bounded
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.gait.conditions import bool_of
from policy_runner.core.observation.terms.motions.clock import MotionClock
from policy_runner.core.observation.terms.rotation import Quaternion, slerp, unit
from policy_runner.core.observation.terms.sources import Sources
from policy_runner.core.spec import Motion

_NPZ = {"joint_position": "joint_pos", "joint_velocity": "joint_vel"}
# numpy raises SystemError for invalid Unicode.
_DAMAGED = (ValueError, TypeError, KeyError, IndexError, OverflowError, SystemError, csv.Error)


@dataclass
class MotionTable:
    """The columns of one motion by name, and the clock that selects the current row."""

    file: str
    columns: Mapping[str, Mapping[str, Array]]  # joint_position, joint_velocity, position, ...
    rows: int
    clock: MotionClock
    stops: bool

    def between(self, ahead: int = 0) -> tuple[int, int, float]:
        """(row, row after it, share of the second) of the current row, `ahead` rows later."""
        position = self.clock.position(ahead)
        row = int(position)
        share = position - row
        return row, self.clock.after(row) if share else row, share

    def numbers(self, rows: Array, ahead: int = 0) -> Array:
        """The current numbers of `rows` [rows, n], linear between two rows, float64 [n]."""
        row, following, share = self.between(ahead)
        found: Array = rows[row]
        return found if not share else found + share * (rows[following] - found)

    def rotation(self, quaternions: Array, ahead: int = 0) -> Quaternion | str:
        """The current rotation of `quaternions` [rows, 4], spherical between two rows; or a fault.

        Args:
            quaternions: x, y, z, w.
            ahead: rows later.
        """
        row, following, share = self.between(ahead)
        q = _unit_of(quaternions[row])
        if not share or isinstance(q, str):
            return q
        other = _unit_of(quaternions[following])
        return other if isinstance(other, str) else slerp(q, other, share)

    @property
    def fault(self) -> str:
        """Why there is no current row, or ''."""
        return "the reference motion has ended" if self.stops and self.clock.ended else ""

    def column(self, kind: str, name: str) -> Array:
        """A joint's numbers, float64 [rows], or a body's quaternions x, y, z, w [rows, 4].

        A body's positions are [rows, 3].

        Args:
            kind: joint_position, joint_velocity, quaternion or position.
            name: the joint or body.

        Raises:
            Refusal: the file has no such column.
        """
        known = self.columns.get(kind, {})
        if name not in known:
            expected = f"{kind} of {', '.join(known) or 'anything'}"
            raise refuse(self.file, kind, expected, f"none of '{name}'", did_you_mean(name, known))
        return known[name]


def _unit_of(quaternion: Array) -> Quaternion | str:
    x, y, z, w = quaternion.tolist()
    q = unit((x, y, z, w))
    return f"the reference has {q}" if isinstance(q, str) else q


def read_motion(
    path: Path, spec: Motion, control_dt: float, asked: Callable[[], bool] | None = None
) -> MotionTable:
    """Read and check one motion.

    Args:
        path: an .npz or .csv file.
        spec: the motion in the spec.
        control_dt: the policy's time between two inferences [s].
        asked: whether the newest message of the spec's `trigger` is true.

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
        remedy = "resample the motion: policy-runner convert motion"
        raise refuse(str(path), "fps", expected, f"{step:g} s", remedy)
    lengths = {len(values) for named in columns.values() for values in named.values()}
    rows = min(lengths, default=0)
    if rows <= spec.start or len(lengths) > 1:
        expected = f"as many rows in every column, and more than start ({spec.start})"
        raise refuse(str(path), "", expected, f"{sorted(lengths)}")
    for kind, named in columns.items():
        for name, values in named.items():
            if not np.all(np.isfinite(values)):
                raise refuse(str(path), f"{kind} of {name}", "finite numbers", "others")
    pauses = spec.trigger is not None and spec.trigger.mode == "run"
    clock = MotionClock(spec.start, rows, spec.delay, spec.speed, spec.end == "loop", asked, pauses)
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
    if "body_pos_w" in arrays and bodies:
        columns["position"] = _split(path, "body_pos_w", arrays["body_pos_w"], bodies)
    fps = float(arrays["fps"].reshape(-1)[0]) if "fps" in arrays else 0.0
    return columns, 1.0 / fps if fps > 0 else None


def _split(path: Path, key: str, values: Any, names: list[str]) -> dict[str, Array]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim < 2 or numbers.shape[1] != len(names):
        expected = f"[rows, {len(names)}], one per name"
        raise refuse(str(path), key, expected, f"{list(numbers.shape)}")
    return {name: np.ascontiguousarray(numbers[:, k]) for k, name in enumerate(names)}


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read_csv(path: Path, content: bytes) -> dict[str, dict[str, Array]]:
    text = io.StringIO(content.decode("utf-8"), newline="")
    header, *lines = [line for line in csv.reader(text) if line]
    if all(map(_is_number, header)):
        raise refuse(
            str(path), "header", "the names of the columns in the first line",
            "numbers only: the file has no header",
            "`policy-runner convert motion` makes an .npz of a headerless CSV",
        )  # fmt: skip
    if len(set(header)) != len(header):
        raise refuse(str(path), "header", "every column once", "one twice")
    table = np.array([[float(cell) for cell in line] for line in lines], dtype=np.float64)
    named = {name.strip(): table[:, k] for k, name in enumerate(header)}
    columns: dict[str, dict[str, Array]] = {"joint_position": {}, "joint_velocity": {}}
    bodies: dict[str, dict[str, Array]] = {}
    places: dict[str, dict[str, Array]] = {}
    for name, values in named.items():
        owner, slash, part = name.rpartition("/")
        if not slash:
            columns["joint_position"][name] = values
        elif part == "velocity":
            columns["joint_velocity"][owner] = values
        elif part in ("qx", "qy", "qz", "qw"):
            bodies.setdefault(owner, {})[part] = values
        elif part in ("x", "y", "z"):
            places.setdefault(owner, {})[part] = values
        else:
            expected = "<joint>, <joint>/velocity, or <body>/x, /y, /z, /qx, /qy, /qz, /qw"
            raise refuse(str(path), "header", expected, f"'{name}'")
    columns["quaternion"] = {
        name: np.stack([parts[p] for p in ("qx", "qy", "qz", "qw")], axis=1)
        for name, parts in bodies.items()
    }
    columns["position"] = {
        name: np.stack([parts[p] for p in ("x", "y", "z")], axis=1)
        for name, parts in places.items()
    }
    return {kind: named for kind, named in columns.items() if named}


def motion_table(name: str, sources: Sources, key: str) -> MotionTable:
    """The table of a motion of the spec; every term of a motion gets the same one.

    Args:
        name: of the motion.
        sources: the data that terms read.
        key: the key in the spec that has `motion`, for error messages.

    Raises:
        Refusal: there is no such motion, or see `read_motion`.
    """
    known = sources.motions.get(name)
    if isinstance(known, MotionTable):
        return known
    motions = sources.spec.motions
    if name not in motions:
        expected = f"one of motions ({', '.join(motions) or 'none'})"
        hint = did_you_mean(name, motions)
        raise refuse(sources.file, f"{key}.motion", expected, f"'{name}'", hint)
    spec = motions[name]
    assert sources.next_to is not None
    path = sources.next_to(spec.file, f"motions.{name}.file")
    asked = None
    if spec.trigger is not None:
        asked = bool_of(spec.trigger.input, sources, f"motions.{name}.trigger")
    table = read_motion(path, spec, sources.spec.control_dt, asked)
    sources.motions[name] = table
    sources.clocks.append(table.clock)
    return table
