"""Joints by name: sort a message's joints into the policy's order, with an age per joint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from policy_runner.core.spec import PolicySpec
from policy_runner.core.spec.elements import absent_joints, default_pose

NEVER = -1


@dataclass(frozen=True)
class RobotJoint:
    """The robot's name of a policy joint; robot value = sign * policy value + offset [rad].

    Attributes:
        constants: of a joint that the robot lacks, by kind (position, velocity, effort); empty for
            a joint that is there.
    """

    name: str
    sign: float = 1.0
    offset: float = 0.0
    constants: Mapping[str, float] = field(default_factory=dict, hash=False)


def with_constants(
    spec: PolicySpec, robot_joints: Mapping[str, RobotJoint], file: str
) -> Mapping[str, RobotJoint]:
    """The robot's joints, with the constants of those that it lacks.

    Args:
        spec: the policy's spec, with `absent_joints`.
        robot_joints: by policy joint, the robot's name, sign and offset of the joint.
        file: the spec file, for error messages.

    Raises:
        Refusal: see `absent_joints` of the spec's elements.
    """
    absent = absent_joints(spec, file)
    if not absent:
        return robot_joints
    found = dict(robot_joints)
    for name, given in absent.items():
        position = given.position
        if position == "default_joint_pos":
            position = float(default_pose(spec, [name], file)[0])
        constants = {"position": position, "velocity": given.velocity, "effort": given.effort}
        found[name] = replace(found.get(name, RobotJoint(name)), constants=constants)
    return found


class JointSamples:
    """Newest position, velocity and effort of every policy joint; NaN until seen.

    A message may list joints in any order, only some of them, and foreign joints. Several
    publishers may share one topic. A joint that is not in a message keeps its value and its age.
    `absent` has the joints that the robot lacks, by index: their values are constants.
    """

    def __init__(
        self, joint_names: Sequence[str], robot: Mapping[str, RobotJoint] | None = None
    ) -> None:
        named = [(robot or {}).get(name, RobotJoint(name)) for name in joint_names]
        self.joint_names = tuple(joint_names)
        self._slot = {joint.name: k for k, joint in enumerate(named) if not joint.constants}
        self.absent = {k: joint.constants for k, joint in enumerate(named) if joint.constants}
        self._sign = np.array([joint.sign for joint in named])
        self._offset = np.array([joint.offset for joint in named])
        self._plain = bool(np.all(self._sign == 1.0) and np.all(self._offset == 0.0))
        size = len(joint_names)
        self.values = {kind: np.full(size, np.nan) for kind in ("position", "velocity", "effort")}
        self.seen_ns = {kind: np.full(size, NEVER, dtype=np.int64) for kind in self.values}
        # One time for all joints of a kind, if the newest message contained all of them.
        self._all_seen_ns: dict[str, int | None] = dict.fromkeys(self.values, NEVER)
        self._tells_all = False
        self._set_constants()
        self._gather = np.zeros(0, dtype=np.intp)
        self._names: list[str] = []
        self._from = np.zeros(0, dtype=np.intp)
        self._to = np.zeros(0, dtype=np.intp)
        self._fault = ""

    def merge(
        self, names: list[str], values: Mapping[str, Sequence[float]], arrived_ns: int
    ) -> str:
        """Take the joints of one message.

        Args:
            names: the message's joints, with the robot's names.
            values: by kind, an array in the order of `names`. An empty array has no information.
                Other arrays must be numpy arrays of numbers; the caller is responsible for that,
                and otherwise a part of the message may be taken.
            arrived_ns: arrival of the message.

        Returns:
            The fault that made the message unusable (then nothing was taken), or ''.
        """
        if names != self._names:
            self._index(names)
        if self._fault:
            return self._fault
        for kind, given in values.items():
            if len(given) not in (0, len(names)):
                return f"{len(given)} values of {kind} for {len(names)} names"
        for kind, given in values.items():
            if len(given) == 0:
                continue
            mine = self.values[kind]
            if self._tells_all:
                # Not `take`: it is slow on numbers that are not aligned, as in messages.
                mine[:] = np.asarray(given)[self._gather]
                if not self._plain:
                    if kind == "position":
                        np.subtract(mine, self._offset, out=mine)
                    np.multiply(mine, self._sign, out=mine)
                self.seen_ns[kind].fill(arrived_ns)
                self._all_seen_ns[kind] = arrived_ns
                continue
            chosen = np.asarray(given)[self._from]
            if not self._plain:
                if kind == "position":
                    chosen = chosen - self._offset[self._to]
                chosen = chosen * self._sign[self._to]
            mine[self._to] = chosen
            self.seen_ns[kind][self._to] = arrived_ns
            self._all_seen_ns[kind] = None
        return ""

    def oldest_ns(self, kind: str, joints: npt.NDArray[np.intp]) -> int:
        """Arrival of the oldest value of these joints; NEVER if any of them was never seen.

        Args:
            kind: position, velocity or effort.
            joints: indices of policy joints.
        """
        seen = self._all_seen_ns[kind]
        if seen is not None:
            return seen
        # Use a list: Python's min is faster than numpy's at these lengths.
        return int(min(self.seen_ns[kind][joints].tolist()))

    def _set_constants(self) -> None:
        for k, constants in self.absent.items():
            for kind, number in constants.items():
                self.values[kind][k] = number

    def forget(self) -> None:
        """Return to the state before the first message."""
        for kind, values in self.values.items():
            values.fill(np.nan)
            self.seen_ns[kind].fill(NEVER)
            self._all_seen_ns[kind] = NEVER
        self._set_constants()

    def forget_later_than(self, now_ns: int) -> None:
        """Forget joints that were seen after `now_ns`: they are from before a clock jump."""
        for kind, values in self.values.items():
            later = self.seen_ns[kind] > now_ns
            if later.any():
                values[later] = np.nan
                self.seen_ns[kind][later] = NEVER
                self._all_seen_ns[kind] = None

    def _index(self, names: list[str]) -> None:
        # Computed when the names change, not per message: publishers repeat the same order.
        ours = [(k, self._slot[name]) for k, name in enumerate(names) if name in self._slot]
        self._from = np.array([k for k, _ in ours], dtype=np.intp)
        self._to = np.array([slot for _, slot in ours], dtype=np.intp)
        self._fault = "" if len(set(names)) == len(names) else "a joint name twice in one message"
        complete = len(ours) == len(self._slot) and not self.absent
        self._tells_all = not self._fault and complete
        self._gather = self._from[np.argsort(self._to)]  # message index of every joint, in order
        self._names = list(names)
