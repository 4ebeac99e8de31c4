"""Wheel commands by joint name: what a real driver would accept, and what it counts as wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence

from policy_runner.sim.balancer import JOINT_NAMES


class WheelCommands:
    """Turns names and velocities into targets (left, right; rad/s); counts what it ignores.

    A wheel that a command does not name keeps its last target. A command without any usable wheel
    is ignored whole. `problem` is the newest reason, one sentence; '' when there was none.
    """

    def __init__(self) -> None:
        self._target = [0.0, 0.0]
        self.ignored = 0
        self.problem = ""

    def read(self, names: Sequence[str], velocities: Sequence[float]) -> list[float] | None:
        """Targets, or None for a command to be ignored."""
        if len(names) != len(velocities):
            self._ignore(f"{len(names)} joint names but {len(velocities)} velocities")
            return None
        found = 0
        for name, velocity in zip(names, velocities, strict=True):
            if name not in JOINT_NAMES:
                self._ignore(f"unknown joint {name!r}, expected {' and '.join(JOINT_NAMES)}")
            elif not math.isfinite(velocity):
                self._ignore(f"joint {name}: velocity {velocity}, expected a finite number")
            else:
                self._target[JOINT_NAMES.index(name)] = float(velocity)
                found += 1
        missing = [name for name in JOINT_NAMES if name not in names]
        if missing:
            self._ignore(f"no velocity for {' and '.join(missing)}")
        return list(self._target) if found else None

    def _ignore(self, reason: str) -> None:
        self.ignored += 1
        self.problem = f"joint command: {reason}"
