"""Bring a motion to another rate: positions linear, orientations spherical, velocities differences.

The rows are at 0, dt, 2 dt, ... up to the source's last row. mjlab's csv_to_npz and whole body
tracking's do the same, but leave out a row at exactly the source's end (torch.arange).
Velocities are those of the new rows: `central` is numpy.gradient (torch.gradient, as mjlab),
one-sided at both ends; `forward` is (next - this) / dt and `backward` (this - before) / dt, which
repeat their neighbour where there is none.
"""

from __future__ import annotations

import math

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.formats.motions.raw_motion import Array, RawMotion

MOST_ROWS = 1_000_000
VELOCITIES = ("central", "forward", "backward", "kept")


def resampled(motion: RawMotion, dt: float, velocities: str, file: str = "") -> RawMotion:
    """The motion at another rate.

    Args:
        motion: at least two rows.
        dt: time between two rows of the result [s].
        velocities: a value of `VELOCITIES`. kept: the source's velocities, linear in between.
        file: the source, for error messages.

    Raises:
        Refusal: the result would have more than `MOST_ROWS` rows.
    """
    # A last row that only rounding puts behind the end is one.
    count = math.floor((motion.rows - 1) * motion.dt / dt + 1e-6) + 1
    if count > MOST_ROWS:
        raise refuse(file, "", f"at most {MOST_ROWS} rows at the new rate", f"{count}")
    at = np.minimum(np.arange(count) * dt / motion.dt, motion.rows - 1)
    first = np.minimum(at.astype(np.intp), motion.rows - 2)
    share = at - first
    joint_pos = _linear(motion.joint_pos, first, share)
    if velocities == "kept":
        given = motion.joint_vel
        joint_vel = None if given is None else _linear(given, first, share)
    else:
        joint_vel = differences(joint_pos, dt, velocities)
    return RawMotion(
        dt, motion.joint_names, joint_pos, joint_vel,
        {name: _linear(given, first, share) for name, given in motion.body_pos.items()},
        {name: spherical(given, first, share) for name, given in motion.body_quat.items()},
    )  # fmt: skip


def _linear(rows: Array, first: np.ndarray, share: Array) -> Array:
    found: Array = rows[first] * (1.0 - share[:, None]) + rows[first + 1] * share[:, None]
    return found


def spherical(quaternions: Array, first: np.ndarray, share: Array) -> Array:
    """Rotations between two rows each, the shorter way, at constant speed, unit [n, 4].

    Args:
        quaternions: [rows, 4].
        first: the row before, [n].
        share: of the row after it, 0 to 1, [n].
    """
    unit = quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)
    a, b = unit[first], unit[first + 1]
    dot = (a * b).sum(axis=1)
    b = np.where(dot[:, None] < 0.0, -b, b)
    angle = np.arccos(np.minimum(np.abs(dot), 1.0))
    sine = np.where(angle < 1e-8, 1.0, np.sin(angle))
    before = np.where(angle < 1e-8, 1.0 - share, np.sin((1.0 - share) * angle) / sine)
    after = np.where(angle < 1e-8, share, np.sin(share * angle) / sine)
    found = before[:, None] * a + after[:, None] * b
    result: Array = found / np.linalg.norm(found, axis=1, keepdims=True)
    return result


def differences(rows: Array, dt: float, how: str) -> Array:
    """Velocities of rows [rows, n] by differences.

    Args:
        rows: at least one row.
        dt: time between two rows [s].
        how: central, forward or backward.
    """
    if len(rows) < 2:
        return np.zeros_like(rows)
    if how == "central":
        found: Array = np.gradient(rows, dt, axis=0)
        return found
    steps = np.diff(rows, axis=0) / dt
    return np.concatenate([steps, steps[-1:]] if how == "forward" else [steps[:1], steps])
