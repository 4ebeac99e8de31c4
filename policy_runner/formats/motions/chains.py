"""Bodies at the end of chains of joints, from the base's pose and the joints of a motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import TypeAdapter, ValidationError

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.files.bounded import read_bounded
from policy_runner.core.observation.terms.bodies.poses import (
    NO_STEP,
    NO_TURN,
    Pose,
    constant_pose,
    joint_axis,
    times,
)
from policy_runner.core.observation.terms.rotation import about_axis, unit
from policy_runner.core.spec import ChainLink
from policy_runner.formats.motions.raw_motion import Array, RawMotion

MOST_BYTES = 1 << 20
Chains = Mapping[str, Sequence[ChainLink]]


def read_chains(path: Path) -> Chains:
    """Read {body: [{joint, axis, origin}, ...]} from a YAML file.

    Raises:
        Refusal: the file is missing, or is no such mapping.
    """
    content = read_bounded(path, MOST_BYTES, "a YAML file of chains", None)
    try:
        loaded: Any = yaml.safe_load(content)
        return TypeAdapter(dict[str, list[ChainLink]]).validate_python(loaded)
    except (yaml.YAMLError, ValidationError, RecursionError, ValueError) as error:
        text = str(error).splitlines()[0]
        expected = "{body: [{joint, axis, origin}, ...]}"
        raise refuse(str(path), "", expected, text) from error


def with_bodies(motion: RawMotion, base: str, chains: Chains, file: str) -> RawMotion:
    """The motion with the bodies at the end of these chains.

    Args:
        motion: it has the pose of `base`.
        base: the body from which the chains start.
        chains: by body, the joints from the base to it.
        file: the file of the chains, for error messages.

    Raises:
        Refusal: an unknown joint, or an axis or offset that does not fit.
    """
    names = list(motion.joint_names)
    body_pos, body_quat = dict(motion.body_pos), dict(motion.body_quat)
    poses = [_pose(motion, base, row, file) for row in range(motion.rows)]
    for body, chain in chains.items():
        links = []
        for k, link in enumerate(chain):
            key = f"{body}[{k}]"
            if link.joint not in names:
                hint = did_you_mean(link.joint, names)
                expected = f"a joint of the motion ({', '.join(names)})"
                raise refuse(file, f"{key}.joint", expected, f"'{link.joint}'", hint)
            origin = (NO_STEP, NO_TURN)
            if link.origin is not None:
                origin = constant_pose(link.origin, file, f"{key}.origin")
            links.append((names.index(link.joint), joint_axis(link, file, key), origin))
        ends = []
        for row, pose in enumerate(poses):
            for joint, axis, origin in links:
                turn = about_axis(axis, float(motion.joint_pos[row, joint]))
                pose = times(times(pose, origin), (NO_STEP, turn))
            ends.append(pose)
        body_pos[body] = _array([end[0] for end in ends])
        body_quat[body] = _array([end[1] for end in ends])
    return replace(motion, body_pos=body_pos, body_quat=body_quat)


def _array(rows: Sequence[Sequence[float]]) -> Array:
    return np.array(rows, dtype=np.float64)


def _pose(motion: RawMotion, base: str, row: int, file: str) -> Pose:
    x, y, z, w = motion.body_quat[base][row].tolist()
    q = unit((x, y, z, w))
    if isinstance(q, str):
        raise refuse(file, f"row {row + 1}", f"a unit quaternion of {base}", q)
    px, py, pz = motion.body_pos[base][row].tolist() if base in motion.body_pos else NO_STEP
    return (px, py, pz), q
