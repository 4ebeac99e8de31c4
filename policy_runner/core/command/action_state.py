"""Stages of an action that read the robot's state: torque limits and rotated vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import refuse
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.orientation import attitude
from policy_runner.core.observation.terms.rotation import (
    Quaternion,
    conjugate,
    rotated,
    yaw_only,
)
from policy_runner.core.observation.terms.sources import JOINT_STATE, Sources
from policy_runner.core.spec import ActionGroup, RotatedVectors, TorqueLimit
from policy_runner.core.spec.elements import absent_joints, kept_elements
from policy_runner.core.spec.named_numbers import by_name

Index = npt.NDArray[np.intp]


class TorqueBounds:
    """Bounds of raw values so that kp (target - q) - kd dq stays within a torque.

    target = raw * scale + base, so raw is between ((kd dq -+ torque) / kp + q - base) / scale.

    Attributes:
        elements: indices of the group's elements in the action.
        every_tick: the bounds also hold between two inferences.
    """

    def __init__(
        self, group: ActionGroup, spec: TorqueLimit, start: int, sources: Sources, key: str
    ) -> None:
        """Resolve gains, limits and the measured joints.

        Args:
            group: the group of the action.
            spec: its `limit_torque`.
            start: index of the group's first element.
            sources: the data of the robot.
            key: the key of `limit_torque` in the spec, for error messages.

        Raises:
            Refusal: the group commands no positions, a gain or limit is missing or not positive,
                no input measures the joints, or a later stage would break the bound.
        """
        file = sources.file
        if group.kind != "position":
            raise refuse(file, key, "a group of kind position", group.kind)
        names, kept = group.names, kept_elements(group, absent_joints(sources.spec, file))
        if group.ema != 1.0:
            raise refuse(file, key, "no `ema`, since it would move the target again", "one")
        varying = ("previous_target", "measured")
        if spec.every == "tick" and group.relative_to in varying:
            expected = "relative_to zero or default_joint_pos for every: tick"
            raise refuse(file, f"{key}.every", expected, group.relative_to)
        self.elements: Index = np.arange(start, start + len(kept), dtype=np.intp)
        self.every_tick = spec.every == "tick"
        joints = [sources.spec.joint_names.index(name) for name in names]
        self._joints = np.array(joints, dtype=np.intp)[kept]
        self._kp = _gains(spec.stiffness, "stiffness", names, joints, sources, key)[kept]
        if not np.all(self._kp > 0.0):
            raise refuse(file, f"{key}.stiffness", "numbers above 0", f"{self._kp.min():g}")
        self._kd = _gains(spec.damping, "damping", names, joints, sources, key)[kept]
        limit = None if spec.limit == "effort_limit" else spec.limit
        self._limit = _gains(limit, "effort_limit", names, joints, sources, key)[kept]
        for gains, name in ((self._kd, "damping"), (self._limit, "limit")):
            if np.any(gains < 0.0):
                raise refuse(file, f"{key}.{name}", "numbers from 0 on", f"{gains.min():g}")
        slot = sources.slot(_joint_state(spec, sources, key), key)
        known = sources.spec.joint_names
        self._q = slot.joint_values("position", known, sources.robot_joints, joints)
        self._dq = slot.joint_values("velocity", known, sources.robot_joints, joints)

    def apply(self, raw: Array, scale: Array, base: Array) -> None:
        """Bound the raw values in place. All arrays are float64 [elements of the action]."""
        mine, joints = self.elements, self._joints
        free, factor = self._q[joints] - base[mine], scale[mine]
        drag = self._kd * self._dq[joints]
        one = ((drag - self._limit) / self._kp + free) / factor
        other = ((drag + self._limit) / self._kp + free) / factor
        low, high = np.minimum(one, other), np.maximum(one, other)
        raw[mine] = np.maximum(low, np.minimum(high, raw[mine]))


def _joint_state(spec: TorqueLimit, sources: Sources, key: str) -> str:
    states = [name for name, given in sources.spec.inputs.items() if given.type == JOINT_STATE]
    if spec.input is not None:
        if spec.input not in states:
            expected = f"an input of type {JOINT_STATE} ({', '.join(states) or 'none'})"
            raise refuse(sources.file, f"{key}.input", expected, f"'{spec.input}'")
        return spec.input
    if len(states) != 1:
        expected = "the JointState of q and dq, since `inputs` has not exactly one"
        raise refuse(sources.file, f"{key}.input", expected, "nothing")
    return states[0]


def _gains(
    given: object,
    name: str,
    names: Sequence[str],
    joints: Sequence[int],
    sources: Sources,
    key: str,
) -> Array:
    spec, file = sources.spec, sources.file
    if given is not None:
        return by_name(given, names, file, f"{key}.{'limit' if name == 'effort_limit' else name}")
    default = getattr(spec, name)
    if default is None:
        raise refuse(file, key, f"`{name}` here or in the spec", "none")
    return by_name(default, spec.joint_names, file, name)[list(joints)]


class VectorTurns:
    """Turns vectors of a group's targets by a measured orientation."""

    def __init__(
        self, group: ActionGroup, spec: RotatedVectors, start: int, sources: Sources, key: str
    ) -> None:
        """Resolve the vectors and the orientation.

        Args:
            group: the group of the action.
            spec: its `rotate`.
            start: index of the group's first element.
            sources: the data of the robot.
            key: the key of `rotate` in the spec, for error messages.

        Raises:
            Refusal: the vectors do not fit the group, or there is no such orientation.
        """
        file, names = sources.file, group.names
        if group.limit_torque is not None:
            raise refuse(file, key, "one of `rotate` and `limit_torque`", "both")
        sizes = (2, 3) if spec.part == "yaw" else (3,)
        self._vectors: list[Index] = []
        seen: set[str] = set()
        for k, vector in enumerate(spec.vectors if spec.vectors is not None else [names]):
            where = f"{key}.vectors[{k}]" if spec.vectors is not None else key
            if len(vector) not in sizes:
                expected = f"{' or '.join(map(str, sizes))} elements per vector"
                raise refuse(file, where, expected, f"{len(vector)}")
            for name in vector:
                if name not in names or name in seen:
                    expected = f"each element of the group ({', '.join(names)}) at most once"
                    raise refuse(file, where, expected, f"'{name}'")
                seen.add(name)
            index = [start + names.index(name) for name in vector]
            self._vectors.append(np.array(index, dtype=np.intp))
        self._read: Callable[[], Quaternion | str] = attitude(spec.input, spec.field, sources, key)
        self._inverse, self._yaw = spec.to == "body", spec.part == "yaw"

    def apply(self, target: Array) -> str:
        """Turn the targets in place, float64 [elements of the action].

        Returns:
            Why the orientation is unusable, or ''.
        """
        q = self._read()
        if isinstance(q, str):
            return f"the action is turned by {q}"
        if self._yaw:
            q = yaw_only(q)
        if self._inverse:
            q = conjugate(q)
        for index in self._vectors:
            x, y, *rest = target[index].tolist()
            turned = rotated(q, (x, y, rest[0] if rest else 0.0))
            target[index] = turned[: len(index)]
        return ""


class ActionState:
    """The stages of all groups that read the robot's state."""

    def __init__(self, torque: Sequence[TorqueBounds], turns: Sequence[VectorTurns]) -> None:
        self.torque = torque
        self.turns = turns
        self.each_tick = [bounds for bounds in torque if bounds.every_tick]


def action_state(sources: Sources) -> ActionState | None:
    """The stages of an action that read the robot's state, or None without one.

    Raises:
        Refusal: see `TorqueBounds` and `VectorTurns`.
    """
    torque, turns, start = [], [], 0
    absent = absent_joints(sources.spec, sources.file)
    for t, tensor in enumerate(sources.spec.action):
        for g, group in enumerate(tensor.groups):
            key = f"action[{t}].groups[{g}]"
            if group.limit_torque is not None:
                where = f"{key}.limit_torque"
                torque.append(TorqueBounds(group, group.limit_torque, start, sources, where))
            if group.rotate is not None:
                turns.append(VectorTurns(group, group.rotate, start, sources, f"{key}.rotate"))
            start += len(kept_elements(group, absent))
    return ActionState(torque, turns) if torque or turns else None
