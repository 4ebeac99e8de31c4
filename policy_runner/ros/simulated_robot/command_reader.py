"""Reads command messages of every type that the runner publishes; counts what is ignored."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from geometry_msgs.msg import Twist, TwistStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from policy_runner.sim.loop.sensor_numbers import TWIST_AXES

NS_PER_S = 1_000_000_000
MESSAGES = {
    "joint_state": JointState,
    "joint_trajectory": JointTrajectory,
    "float64_multi_array": Float64MultiArray,
    "float64": Float64,
    "twist": Twist,
    "twist_stamped": TwistStamped,
}
_FIELDS = {
    "position": ("position", "positions"),
    "velocity": ("velocity", "velocities"),
    "effort": ("effort", "effort"),
}
_GAINS = ("stiffness", "damping")


class SentCommand(NamedTuple):
    """The usable part of one command message."""

    stamp_ns: int  # 0 without a header
    kind: str  # position | velocity | effort | twist
    names: list[str]  # joints; of a twist its axes
    values: list[float]
    gains: dict[str, tuple[float, float]]  # joint -> stiffness and damping, if the message has them
    after_ns: int = 0  # time from the first point of a trajectory to this one


class CommandReader:
    """Turns messages into commands; `problem` is the newest reason to ignore something, or ''."""

    def __init__(self, known: Collection[str], expected: Sequence[str] = ()) -> None:
        """Read commands for these joints.

        Args:
            known: the robot's joints.
            expected: joints that every command must name.
        """
        self._known, self._expected = list(known), list(expected)
        self.ignored = 0
        self.problem = ""

    def read(self, message: Any, kind: str, names: Sequence[str] = ()) -> list[SentCommand]:
        """Return the usable commands of a message, in the order of their times.

        Args:
            message: of a type in `MESSAGES`.
            kind: the kind of the topic; '' if the message itself says it (JointState, trajectory).
            names: the joint of a Float64.
        """
        if isinstance(message, (Twist, TwistStamped)):
            return self._twist(message)
        stamp = _stamp_ns(message)
        found: list[SentCommand | None] = []
        if isinstance(message, JointState):
            for one, (field, _) in _FIELDS.items():
                values = getattr(message, field)
                if len(values) or one == kind:
                    found.append(self._usable(stamp, one, message.name, values))
        elif isinstance(message, JointTrajectory):
            found = self._trajectory(message, stamp, kind)
        elif isinstance(message, Float64MultiArray):
            found = self._multi_array(message, kind)
        else:
            found = [self._usable(stamp, kind, names, [message.data])]
        return [one for one in found if one is not None]

    def _trajectory(self, message: Any, stamp: int, kind: str) -> list[SentCommand | None]:
        found: list[SentCommand | None] = []
        first_ns = 0
        for k, point in enumerate(message.points):
            after_ns = _duration_ns(point.time_from_start)
            first_ns = after_ns if k == 0 else first_ns
            for one, (_, field) in _FIELDS.items():
                values = getattr(point, field)
                if len(values) or (one == kind and k == 0):
                    usable = self._usable(stamp, one, message.joint_names, values)
                    if usable is not None:
                        usable = usable._replace(after_ns=after_ns - first_ns)
                    found.append(usable)
        if not message.points:
            self._ignore("a trajectory without points")
        return found

    def _multi_array(self, message: Any, kind: str) -> list[SentCommand | None]:
        dimensions = message.layout.dim
        names = dimensions[0].label.split(",") if dimensions and dimensions[0].label else []
        columns = dimensions[1].label.split(",") if len(dimensions) > 1 else [kind]
        wide = len(columns)
        if len(message.data) != wide * len(names) or not names:
            self._ignore(f"{len(message.data)} numbers for {len(names)} joints x {wide} columns")
            return []
        rows = [message.data[k * wide : (k + 1) * wide] for k in range(len(names))]
        gains: dict[str, tuple[float, float]] = {}
        if all(part in columns for part in _GAINS):
            stiffness, damping = (columns.index(part) for part in _GAINS)
            gains = {n: (row[stiffness], row[damping]) for n, row in zip(names, rows)}
        found: list[SentCommand | None] = []
        for column, one in enumerate(columns):
            if one in _FIELDS:
                usable = self._usable(0, one, names, [row[column] for row in rows])
                found.append(usable._replace(gains=gains) if usable is not None else None)
        return found

    def _twist(self, message: Any) -> list[SentCommand]:
        twist = getattr(message, "twist", message)
        values = [
            float(getattr(getattr(twist, part), axis))
            for part, axis in (name.split(".") for name in TWIST_AXES)
        ]
        if not all(map(math.isfinite, values)):
            self._ignore("a twist that is not finite")
            return []
        return [SentCommand(_stamp_ns(message), "twist", list(TWIST_AXES), values, {})]

    def _usable(
        self, stamp: int, kind: str, names: Sequence[str], values: Sequence[float]
    ) -> SentCommand | None:
        """Return the joints that exist and have a finite number; None if there are none."""
        if len(names) != len(values):
            plural = {"position": "positions", "velocity": "velocities"}.get(kind, "efforts")
            self._ignore(f"{len(names)} joint names but {len(values)} {plural}")
            return None
        kept: dict[str, float] = {}
        for name, value in zip(names, values, strict=True):
            if name not in self._known:
                self._ignore(f"unknown joint {name!r}, expected {' and '.join(self._known)}")
            elif not math.isfinite(value):
                self._ignore(f"joint {name}: {kind} {value}, expected a finite number")
            else:
                kept[name] = float(value)
        missing = [name for name in self._expected if name not in names]
        if missing:
            self._ignore(f"no {kind} for {' and '.join(missing)}")
        return SentCommand(stamp, kind, list(kept), list(kept.values()), {}) if kept else None

    def _ignore(self, reason: str) -> None:
        self.ignored += 1
        self.problem = f"joint command: {reason}"


def _stamp_ns(message: Any) -> int:
    header = getattr(message, "header", None)
    return 0 if header is None else int(header.stamp.sec) * NS_PER_S + int(header.stamp.nanosec)


def _duration_ns(duration: Any) -> int:
    return int(duration.sec) * NS_PER_S + int(duration.nanosec)
