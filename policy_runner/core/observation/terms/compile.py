"""Observation terms: each becomes one function that writes its numbers into the frame.

Here a term only reads; minus relative_to, wrap, clip, scale and offset are done for the
whole frame at once in `frame_arithmetic`, which is what keeps a tick short. Orientations are in
`terms_orientation`, what counts in `terms_clock`, motions in `terms_motion`, images and users'
own in `terms_image` and `terms_custom`.
"""

from __future__ import annotations

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.inputs.slot import Read
from policy_runner.core.observation.terms.clocks import first_step, phase_clock, step_counter
from policy_runner.core.observation.terms.custom import custom
from policy_runner.core.observation.terms.fields import pooled
from policy_runner.core.observation.terms.orientation import (
    orientation,
    pose_in_frame,
    projected_gravity,
)
from policy_runner.core.observation.terms.rotation import matrix
from policy_runner.core.observation.terms.sources import (
    IMU,
    JOINT_STATE,
    Array,
    CompiledTerm,
    Sources,
    absolute,
    copy,
    gather,
    joint_index,
)
from policy_runner.core.observation.terms.terms_image import image
from policy_runner.core.observation.terms.terms_motion import motion_orientation, motion_rows
from policy_runner.core.spec.named_numbers import by_name
from policy_runner.core.spec.policy import (
    ConstantTerm,
    CustomTerm,
    EulerAnglesTerm,
    FieldTerm,
    FirstStepTerm,
    HeadingTerm,
    ImageTerm,
    JointTerm,
    LastActionTerm,
    MotionOrientationTerm,
    MotionTerm,
    PhaseClockTerm,
    PoseInFrameTerm,
    ProjectedGravityTerm,
    QuaternionTerm,
    Rotation6dTerm,
    StepCounterTerm,
    Term,
    VelocityCommandTerm,
)

TWISTS = {"geometry_msgs/msg/Twist": "", "geometry_msgs/msg/TwistStamped": "twist."}


def compile_term(term: Term, sources: Sources, key: str) -> CompiledTerm:
    """Resolve names to arrays, once.

    Raises:
        Refusal: an input, field or joint that is not there.
    """
    if isinstance(term, FieldTerm):
        return pooled(term, sources, key) if term.pool else _field(term, sources, key)
    if isinstance(term, VelocityCommandTerm):
        return _velocity_command(term, sources, key)
    if isinstance(term, ProjectedGravityTerm):
        return projected_gravity(term, sources, key)
    if isinstance(term, (EulerAnglesTerm, HeadingTerm, Rotation6dTerm, QuaternionTerm)):
        return orientation(term, sources, key)
    if isinstance(term, PoseInFrameTerm):
        return pose_in_frame(term, sources, key)
    if isinstance(term, JointTerm):
        return _joints(term, sources, key)
    if isinstance(term, LastActionTerm):
        return _last_action(term, sources, key)
    if isinstance(term, PhaseClockTerm):
        return phase_clock(term, sources, key)
    if isinstance(term, StepCounterTerm):
        return step_counter(term, sources)
    if isinstance(term, FirstStepTerm):
        return first_step(term, sources)
    if isinstance(term, MotionTerm):
        return motion_rows(term, sources, key)
    if isinstance(term, MotionOrientationTerm):
        return motion_orientation(term, sources, key)
    if isinstance(term, ImageTerm):
        return image(term, sources, key)
    if isinstance(term, CustomTerm):
        return custom(term, sources, key)
    return _constant(term)


def _field(term: FieldTerm, sources: Sources, key: str) -> CompiledTerm:
    slot = sources.slot(term.input, key)
    if (term.field is None) == (term.fields is None):
        raise refuse(sources.file, key, "one of `field` and `fields`", "both or none")
    if slot.spec.type == JOINT_STATE:
        expected = "joint_position, joint_velocity or joint_effort, which go by name"
        raise refuse(sources.file, f"{key}.term", expected, "field of a JointState")
    name = term.name or term.field or "field"
    if slot.name in sources.mountings and slot.spec.type == IMU:
        return _mounted(name, term, sources, key)
    if term.field is not None:
        array = sources.numbers(slot, term.field, term.size, f"{key}.field")
        if term.size not in (None, array.size):
            expected = f"{array.size}, the numbers of '{term.field}'"
            raise refuse(sources.file, f"{key}.size", expected, f"{term.size}")
        return copy(name, slot.paths[term.field], array)
    arrays = [sources.numbers(slot, p, 1, f"{key}.fields") for p in term.fields or []]
    elements = tuple(leaf for p in term.fields or [] for leaf in slot.paths[p])

    def bind(out: Array) -> Read:
        def read() -> str:
            np.concatenate(arrays, out=out)
            return ""

        return read

    return absolute(name, elements, bind)


def _mounted(name: str, term: FieldTerm, sources: Sources, key: str) -> CompiledTerm:
    """Vectors of an Imu whose axes are not the body's: body vector = R(body, sensor) vector."""
    slot = sources.slot(term.input, key)
    rotation = np.array(matrix(sources.mountings[slot.name])).reshape(3, 3)
    rows, arrays, elements = [], [], []
    for path in [term.field] if term.field else term.fields or []:
        vector, _, part = path.partition(".")
        if vector not in ("angular_velocity", "linear_acceleration"):
            expected = "angular_velocity or linear_acceleration, since the input has a mounting"
            raise refuse(sources.file, f"{key}.field", expected, f"'{path}'")
        array = sources.numbers(slot, vector, None, f"{key}.field")
        parts = [part] if part else ["x", "y", "z"]
        if part not in ("", "x", "y", "z"):
            raise refuse(sources.file, f"{key}.field", f"x, y or z of {vector}", f"'{path}'")
        rows.append(rotation[["xyz".index(axis) for axis in parts]])
        arrays.append(array)
        elements += [f"{vector}.{axis}" for axis in parts]

    def bind(out: Array) -> Read:
        def read() -> str:
            at = 0
            for turn, array in zip(rows, arrays):
                out[at : at + len(turn)] = turn @ array
                at += len(turn)
            return ""

        return read

    return absolute(name, tuple(elements), bind)


def _velocity_command(term: VelocityCommandTerm, sources: Sources, key: str) -> CompiledTerm:
    slot = sources.slot(term.input, key)
    if slot.spec.type not in TWISTS:
        expected = "an input of type geometry_msgs/msg/Twist or TwistStamped"
        raise refuse(sources.file, f"{key}.input", expected, slot.spec.type)
    head = TWISTS[slot.spec.type]
    arrays = [sources.numbers(slot, head + axis, 1, key) for axis in term.axes]
    dead_band = by_name(term.dead_band, term.axes, sources.file, f"{key}.dead_band")
    if np.any(dead_band < 0):
        got = f"{dead_band.min():g}"
        raise refuse(sources.file, f"{key}.dead_band", "0 or more", got)
    has_dead_band = bool(np.any(dead_band))

    def bind(out: Array) -> Read:
        def read() -> str:
            np.concatenate(arrays, out=out)
            if has_dead_band:
                out[np.abs(out) < dead_band] = 0.0
            return ""

        return read

    return absolute(term.name or "velocity_command", tuple(term.axes), bind)


def _joints(term: JointTerm, sources: Sources, key: str) -> CompiledTerm:
    slot = sources.slot(term.input, key)
    if slot.spec.type != JOINT_STATE:
        expected = f"an input of type {JOINT_STATE}"
        raise refuse(sources.file, f"{key}.input", expected, slot.spec.type)
    spec, file = sources.spec, sources.file
    names = tuple(spec.joint_names)
    wanted = list(term.joints) if term.joints is not None else list(names)
    index = joint_index(names, wanted, file, f"{key}.joints")
    kind = term.term.removeprefix("joint_")
    source = slot.joint_values(kind, names, sources.robot_joints, index)
    compiled = gather(term.name or term.term, tuple(wanted), source, index)
    given = term.relative_to
    if given == "zero":
        return compiled
    if given == "previous_target":
        return _minus_previous_target(compiled, kind, sources, key)
    if given == "default_joint_pos":
        pose = spec.default_joint_pos
        if kind != "position" or pose is None:
            expected = "a joint_position term and `default_joint_pos` in the spec"
            got = term.term if kind != "position" else "no default_joint_pos"
            raise refuse(file, f"{key}.relative_to", expected, got)
        relative = by_name(pose, names, file, "default_joint_pos")[index]
    else:
        relative = by_name(given, wanted, file, f"{key}.relative_to")
    return CompiledTerm(compiled.name, compiled.elements, relative, compiled.bind)


def _minus_previous_target(
    compiled: CompiledTerm, kind: str, sources: Sources, key: str
) -> CompiledTerm:
    commanded = list(zip(sources.action_joints, sources.action_kinds))
    missing = [joint for joint in compiled.elements if (joint, kind) not in commanded]
    if missing:
        expected = f"joints whose {kind} the policy commands"
        raise refuse(sources.file, f"{key}.relative_to", expected, f"{', '.join(missing)}")
    take = np.array([commanded.index((joint, kind)) for joint in compiled.elements], dtype=np.intp)
    previous = sources.previous_target

    def bind(out: Array) -> Read:
        inner = compiled.bind(out)

        def read() -> str:
            fault = inner()
            np.subtract(out, previous[take], out=out)
            return fault

        return read

    return absolute(compiled.name, compiled.elements, bind)


def _last_action(term: LastActionTerm, sources: Sources, key: str) -> CompiledTerm:
    names = sources.action_joints
    wanted = list(term.joints) if term.joints is not None else list(names)
    index = list(range(len(names)))
    if term.joints is not None:
        index = joint_index(names, wanted, sources.file, f"{key}.joints")
    return gather(term.name or "last_action", tuple(wanted), sources.last_action, index)


def _constant(term: ConstantTerm) -> CompiledTerm:
    value = np.array(term.value, dtype=np.float64)
    return copy(term.name or "constant", tuple(f"[{k}]" for k in range(value.size)), value)
