"""Terms of joints: positions, velocities, efforts, and the last action."""

from __future__ import annotations

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.inputs.slot import Read
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.sources import (
    JOINT_STATE,
    CompiledTerm,
    Sources,
    absolute,
    compiles,
    gather,
    joint_index,
)
from policy_runner.core.spec import JointTerm, LastActionTerm
from policy_runner.core.spec.elements import absent_joints
from policy_runner.core.spec.named_numbers import by_name


@compiles(JointTerm)
def joints(term: JointTerm, sources: Sources, key: str) -> CompiledTerm:
    """Positions, velocities or efforts of joints, by name."""
    slot = sources.slot_of(term.input, key, JOINT_STATE)
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


@compiles(LastActionTerm)
def last_action(term: LastActionTerm, sources: Sources, key: str) -> CompiledTerm:
    """The action of the previous inference; of joints that the robot lacks, their constants."""
    spec, names = sources.spec, sources.action_joints
    absent = absent_joints(spec, sources.file)
    every = list(names)
    if absent:
        groups = [group for tensor in spec.action for group in tensor.groups]
        every = [name for group in groups for name in group.names]
    wanted = list(term.joints) if term.joints is not None else every
    if term.joints is not None:
        joint_index(every, wanted, sources.file, f"{key}.joints")
    name = term.name or "last_action"
    missing = [joint for joint in wanted if joint in absent and joint not in names]
    if not missing:
        index = list(range(len(names)))
        if term.joints is not None:
            index = joint_index(names, wanted, sources.file, f"{key}.joints")
        return gather(name, tuple(wanted), sources.last_action, index)
    there = [k for k, joint in enumerate(wanted) if joint not in missing]
    take = np.array([names.index(wanted[k]) for k in there], dtype=np.intp)
    constants = np.array([absent[j].last_action if j in missing else 0.0 for j in wanted])

    def bind(out: Array) -> Read:
        def read() -> str:
            np.copyto(out, constants)
            out[there] = sources.last_action[take]
            return ""

        return read

    return absolute(name, tuple(wanted), bind)
