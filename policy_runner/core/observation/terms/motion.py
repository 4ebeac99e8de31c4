"""Terms of reference motions: the joints of the current row, and the reference's orientation."""

from __future__ import annotations

import numpy as np

from policy_runner.core.inputs.slot import Read
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.bodies.poses import chain_reader
from policy_runner.core.observation.terms.motions.table import motion_table
from policy_runner.core.observation.terms.orientation import attitude
from policy_runner.core.observation.terms.rotation import (
    Quaternion,
    conjugate,
    matrix,
    multiply,
    six_numbers,
    yaw_only,
)
from policy_runner.core.observation.terms.sources import (
    CompiledTerm,
    Sources,
    absolute,
    compiles,
    joint_index,
)
from policy_runner.core.spec import MotionOrientationTerm, MotionTerm


@compiles(MotionTerm)
def motion_rows(term: MotionTerm, sources: Sources, key: str) -> CompiledTerm:
    """The joint positions or velocities of the current row, or both."""
    table = motion_table(term.motion, sources, key)
    names = sources.spec.joint_names
    wanted = list(term.joints) if term.joints is not None else list(names)
    joint_index(names, wanted, sources.file, f"{key}.joints")
    cells = [(kind, joint) for kind in term.values for joint in wanted]
    parts = [
        np.stack([table.column(kind, joint) for joint in wanted], axis=1) for kind in term.values
    ]
    blocks = [(part, ahead) for ahead in term.rows for part in range(len(parts))]
    if term.layout == "by_value":
        blocks = [(part, ahead) for part in range(len(parts)) for ahead in term.rows]
    single, count = len(term.values) == 1, len(wanted)
    elements = []
    for part, ahead in blocks:
        later = f"+{ahead}" if len(term.rows) > 1 else ""
        for kind, joint in cells[part * count : (part + 1) * count]:
            elements.append(
                joint + later if single else f"{kind.removeprefix('joint_')}/{joint}{later}"
            )

    def bind(out: Array) -> Read:
        places = [out[k * count : (k + 1) * count] for k in range(len(blocks))]

        def read() -> str:
            for place, (part, ahead) in zip(places, blocks):
                np.copyto(place, table.numbers(parts[part], ahead))
            return table.fault

        return read

    return absolute(term.name or "motion", tuple(elements), bind)


@compiles(MotionOrientationTerm)
def motion_orientation(term: MotionOrientationTerm, sources: Sources, key: str) -> CompiledTerm:
    """The first two columns of R(robot body)^T R(reference body)."""
    table = motion_table(term.motion, sources, key)
    reference = table.column("quaternion", term.body)
    measured = attitude(term.input, term.field, sources, key)
    chain = chain_reader(term.chain, term.joints_input, sources, key)
    layout, align = term.layout, term.align == "yaw"
    aligned: Quaternion = (0.0, 0.0, 0.0, 1.0)

    def bind(out: Array) -> Read:
        def read() -> str:
            nonlocal aligned
            robot, there = measured(), table.rotation(reference)
            if isinstance(robot, str):
                return robot
            if isinstance(there, str):
                return there
            if chain is not None:
                robot = multiply(robot, chain()[1])
            if align and table.clock.first:
                aligned = multiply(yaw_only(robot), conjugate(yaw_only(there)))
            seen = multiply(conjugate(robot), multiply(aligned, there))
            out[:] = six_numbers(matrix(seen), layout)
            return table.fault

        return read

    rows = ("R00", "R01", "R10", "R11", "R20", "R21")
    elements = rows if layout == "rows" else ("R00", "R10", "R20", "R01", "R11", "R21")
    return absolute(term.name or "motion_orientation", elements, bind)
