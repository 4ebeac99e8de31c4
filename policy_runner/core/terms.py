"""Observation terms: each becomes one function that writes its numbers into the frame.

Here a term only reads; minus relative_to, wrap, clip, scale and offset are done for the
whole frame at once in `frame_arithmetic`, which is what keeps a tick short.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from policy_runner.core.inputs import InputSlot, Read
from policy_runner.core.joints import RobotJoint
from policy_runner.core.problems import did_you_mean, refuse
from policy_runner.core.spec import (
    ConstantTerm,
    FieldTerm,
    JointTerm,
    LastActionTerm,
    PolicySpec,
    ProjectedGravityTerm,
    Term,
    VelocityCommandTerm,
)

Array = npt.NDArray[np.float64]
JOINT_STATE = "sensor_msgs/msg/JointState"


@dataclass
class Sources:
    """Where terms read from: the inputs, the previous action, and what they leave for safety."""

    spec: PolicySpec
    file: str
    slots: Mapping[str, InputSlot]
    robot_joints: Mapping[str, RobotJoint]
    last_action: Array
    action_joints: tuple[str, ...]
    gravity: Array  # float64 [3], body frame, newest projected gravity; NaN without such a term

    def slot(self, name: str, key: str) -> InputSlot:
        """The input of that name."""
        if name not in self.slots:
            known = ", ".join(self.slots)
            raise refuse(
                self.file, f"{key}.input", f"one of {known}", name, did_you_mean(name, self.slots)
            )
        return self.slots[name]


@dataclass(frozen=True)
class CompiledTerm:
    """One term: how many numbers, how they are called, and how they get into the frame."""

    name: str
    elements: tuple[str, ...]
    relative: Array
    bind: Callable[[Array], Read]

    @property
    def size(self) -> int:
        """Numbers in one frame."""
        return len(self.elements)


def compile_term(term: Term, sources: Sources, key: str) -> CompiledTerm:
    """Resolve names to arrays, once.

    Raises:
        Refusal: an input, field or joint that is not there.
    """
    if isinstance(term, FieldTerm):
        return _field(term, sources, key)
    if isinstance(term, VelocityCommandTerm):
        return _velocity_command(term, sources, key)
    if isinstance(term, ProjectedGravityTerm):
        return _projected_gravity(term, sources, key)
    if isinstance(term, JointTerm):
        return _joints(term, sources, key)
    if isinstance(term, LastActionTerm):
        return _last_action(term, sources, key)
    return _constant(term)


def _copy(name: str, elements: tuple[str, ...], source: Array) -> CompiledTerm:
    def bind(out: Array) -> Read:
        def read() -> str:
            np.copyto(out, source)
            return ""

        return read

    return CompiledTerm(name, elements, np.zeros(len(elements)), bind)


def _gather(name: str, elements: tuple[str, ...], source: Array, index: list[int]) -> CompiledTerm:
    if index == list(range(source.size)):
        return _copy(name, elements, source)
    take = np.array(index, dtype=np.intp)

    def bind(out: Array) -> Read:
        def read() -> str:
            source.take(take, out=out)
            return ""

        return read

    return CompiledTerm(name, elements, np.zeros(len(elements)), bind)


def _request(slot: InputSlot, path: str, size: int | None, file: str, key: str) -> Array:
    try:
        return slot.field(path, size)
    except KeyError as error:
        expected = f"{error.args[0]} of {slot.spec.type}"
        raise refuse(file, key, expected, f"'{path}'") from error


def _field(term: FieldTerm, sources: Sources, key: str) -> CompiledTerm:
    slot = sources.slot(term.input, key)
    if (term.field is None) == (term.fields is None):
        raise refuse(sources.file, key, "one of `field` and `fields`", "both or none")
    name = term.name or term.field or "field"
    if term.field is not None:
        array = _request(slot, term.field, term.size, sources.file, f"{key}.field")
        if term.size not in (None, array.size):
            expected = f"{array.size}, the numbers of '{term.field}'"
            raise refuse(sources.file, f"{key}.size", expected, f"{term.size}")
        return _copy(name, slot.paths[term.field], array)
    arrays = [_request(slot, p, 1, sources.file, f"{key}.fields") for p in term.fields or []]
    elements = tuple(leaf for p in term.fields or [] for leaf in slot.paths[p])

    def bind(out: Array) -> Read:
        def read() -> str:
            np.concatenate(arrays, out=out)
            return ""

        return read

    return CompiledTerm(name, elements, np.zeros(len(elements)), bind)


def _velocity_command(term: VelocityCommandTerm, sources: Sources, key: str) -> CompiledTerm:
    slot = sources.slot(term.input, key)
    prefix = {"geometry_msgs/msg/Twist": "", "geometry_msgs/msg/TwistStamped": "twist."}
    if slot.spec.type not in prefix:
        expected = "an input of type geometry_msgs/msg/Twist or TwistStamped"
        raise refuse(sources.file, f"{key}.input", expected, slot.spec.type)
    head = prefix[slot.spec.type]
    arrays = [_request(slot, head + axis, 1, sources.file, key) for axis in term.axes]
    dead_band = term.dead_band

    def bind(out: Array) -> Read:
        def read() -> str:
            np.concatenate(arrays, out=out)
            if dead_band:
                out[np.abs(out) < dead_band] = 0.0
            return ""

        return read

    return CompiledTerm(
        term.name or "velocity_command", tuple(term.axes), np.zeros(len(term.axes)), bind
    )


def _projected_gravity(term: ProjectedGravityTerm, sources: Sources, key: str) -> CompiledTerm:
    slot = sources.slot(term.input, key)
    quaternion = _request(slot, term.field, 4, sources.file, f"{key}.field")
    if quaternion.size != 4:
        expected = "a quaternion (x, y, z, w)"
        raise refuse(sources.file, f"{key}.field", expected, f"{quaternion.size} numbers")
    gravity = sources.gravity

    def bind(out: Array) -> Read:
        def read() -> str:
            x, y, z, w = quaternion.tolist()
            norm = x * x + y * y + z * z + w * w
            # Written so that NaN is refused, too: every comparison with NaN is false.
            if not 0.98 < norm < 1.02:
                return f"a quaternion of squared norm {norm:.3g}"
            # Minus the third row of R(q), which is R^T (0, 0, -1), for a q of any length.
            s = 2.0 / norm
            down = (s * (w * y - x * z), -s * (y * z + w * x), s * (x * x + y * y) - 1.0)
            gravity[:] = out[:] = down
            return ""

        return read

    elements = ("gravity.x", "gravity.y", "gravity.z")
    return CompiledTerm(term.name or "projected_gravity", elements, np.zeros(3), bind)


def joint_index(names: tuple[str, ...], wanted: list[str], file: str, key: str) -> list[int]:
    """Positions of the wanted joints.

    Raises:
        Refusal: one is unknown or named twice.
    """
    for k, joint in enumerate(wanted):
        if joint not in names:
            expected = f"a joint of joint_names ({', '.join(names)})"
            raise refuse(file, f"{key}[{k}]", expected, f"'{joint}'", did_you_mean(joint, names))
    if len(set(wanted)) != len(wanted):
        twice = next(joint for joint in wanted if wanted.count(joint) > 1)
        raise refuse(file, key, "every joint once", f"'{twice}' twice")
    return [names.index(joint) for joint in wanted]


def _joints(term: JointTerm, sources: Sources, key: str) -> CompiledTerm:
    slot = sources.slot(term.input, key)
    if slot.spec.type != JOINT_STATE:
        expected = f"an input of type {JOINT_STATE}"
        raise refuse(sources.file, f"{key}.input", expected, slot.spec.type)
    names = tuple(sources.spec.joint_names)
    wanted = list(term.joints) if term.joints is not None else list(names)
    index = joint_index(names, wanted, sources.file, f"{key}.joints")
    kind = term.term.removeprefix("joint_")
    source = slot.joint_values(kind, names, sources.robot_joints, index)
    compiled = _gather(term.name or term.term, tuple(wanted), source, index)
    if term.relative_to == "zero":
        return compiled
    pose = sources.spec.default_joint_pos
    if kind != "position" or pose is None:
        expected = "a joint_position term and `default_joint_pos` in the spec"
        got = term.term if kind != "position" else "no default_joint_pos"
        raise refuse(sources.file, f"{key}.relative_to", expected, got)
    relative = np.array(pose, dtype=np.float64)[index]
    return CompiledTerm(compiled.name, compiled.elements, relative, compiled.bind)


def _last_action(term: LastActionTerm, sources: Sources, key: str) -> CompiledTerm:
    names = sources.action_joints
    wanted = list(term.joints) if term.joints is not None else list(names)
    index = list(range(len(names)))
    if term.joints is not None:
        index = joint_index(names, wanted, sources.file, f"{key}.joints")
    return _gather(term.name or "last_action", tuple(wanted), sources.last_action, index)


def _constant(term: ConstantTerm) -> CompiledTerm:
    value = np.array(term.value, dtype=np.float64)
    return _copy(term.name or "constant", tuple(f"[{k}]" for k in range(value.size)), value)
