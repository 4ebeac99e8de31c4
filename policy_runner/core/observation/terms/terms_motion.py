"""Terms that follow a reference motion; all terms of one motion share its clock."""

from __future__ import annotations

import numpy as np

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.inputs.slot import Read
from policy_runner.core.observation.terms.motion import MotionTable, read_motion
from policy_runner.core.observation.terms.orientation import attitude
from policy_runner.core.observation.terms.rotation import (
    Quaternion,
    about,
    conjugate,
    matrix,
    multiply,
    six_numbers,
    unit,
    yaw_only,
)
from policy_runner.core.observation.terms.sources import (
    JOINT_STATE,
    Array,
    CompiledTerm,
    Sources,
    absolute,
    joint_index,
)
from policy_runner.core.spec.policy import MotionOrientationTerm, MotionTerm


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


def motion_rows(term: MotionTerm, sources: Sources, key: str) -> CompiledTerm:
    """The present row's joint positions or velocities, or both."""
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


def motion_orientation(term: MotionOrientationTerm, sources: Sources, key: str) -> CompiledTerm:
    """First two columns of R(robot body)^T R(reference body)."""
    table = _table(term.motion, sources, key)
    reference = table.column("quaternion", term.body)
    measured = attitude(term.input, term.field, sources, key)
    positions, links = _chain(term, sources, key)
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
            for joint, axis in links:
                robot = multiply(robot, about(axis, float(positions[joint])))
            if align and table.clock.steps == 0:
                aligned = multiply(yaw_only(robot), conjugate(yaw_only(there)))
            seen = multiply(conjugate(robot), multiply(aligned, there))
            out[:] = six_numbers(matrix(seen), layout)
            return table.fault

        return read

    rows = ("R00", "R01", "R10", "R11", "R20", "R21")
    elements = rows if layout == "rows" else ("R00", "R10", "R20", "R01", "R11", "R21")
    return absolute(term.name or "motion_orientation", elements, bind)


def _chain(
    term: MotionOrientationTerm, sources: Sources, key: str
) -> tuple[Array, list[tuple[int, str]]]:
    if not term.chain:
        return np.zeros(0), []
    file, names = sources.file, sources.spec.joint_names
    if term.joints_input is None:
        raise refuse(file, f"{key}.joints_input", "the JointState for `chain`", "none")
    slot = sources.slot(term.joints_input, key)
    if slot.spec.type != JOINT_STATE:
        expected = f"an input of type {JOINT_STATE}"
        raise refuse(file, f"{key}.joints_input", expected, slot.spec.type)
    index = joint_index(names, [link.joint for link in term.chain], file, f"{key}.chain")
    positions = slot.joint_values("position", names, sources.robot_joints, index)
    return positions, [(k, link.axis) for k, link in zip(index, term.chain)]
