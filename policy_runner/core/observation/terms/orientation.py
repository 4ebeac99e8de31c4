"""Terms from a quaternion (ROS order x, y, z, w; body -> world)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.inputs.slot import InputSlot, Read
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.rotation import (
    Quaternion,
    euler,
    matrix,
    reader,
    six_numbers,
)
from policy_runner.core.observation.terms.sources import CompiledTerm, Sources, absolute, compiles
from policy_runner.core.spec import (
    EulerAnglesTerm,
    HeadingTerm,
    ProjectedGravityTerm,
    QuaternionTerm,
    Rotation6dTerm,
)

Orientation = EulerAnglesTerm | HeadingTerm | Rotation6dTerm | QuaternionTerm


def quaternion_of(slot: InputSlot, path: str, sources: Sources, key: str) -> Array:
    """The array of a message's quaternion, float64 [4].

    Raises:
        Refusal: the field is no quaternion.
    """
    quaternion = sources.numbers(slot, path, 4, key)
    if quaternion.size != 4:
        expected = "a quaternion (x, y, z, w)"
        raise refuse(sources.file, key, expected, f"{quaternion.size} numbers")
    return quaternion


def attitude(
    input_name: str, path: str, sources: Sources, key: str
) -> Callable[[], Quaternion | str]:
    """Make a function that reads the rotation body -> world, or returns why it is unusable.

    Args:
        input_name: the input; its mounting is applied.
        path: of the quaternion in the message.
        sources: the data that terms read.
        key: the term's key in the spec, for error messages.
    """
    slot = sources.slot(input_name, key)
    quaternion = quaternion_of(slot, path, sources, f"{key}.field")
    return reader(quaternion, sources.mountings.get(input_name))


@compiles(ProjectedGravityTerm)
def projected_gravity(term: ProjectedGravityTerm, sources: Sources, key: str) -> CompiledTerm:
    """R(q)^T (0, 0, -1). The array is also added to `gravities`, where `RobotWatch` reads it."""
    slot = sources.slot(term.input, key)
    quaternion = quaternion_of(slot, term.field, sources, f"{key}.field")
    gravity = np.full(3, np.nan)
    mounted = (
        reader(quaternion, sources.mountings[slot.name]) if slot.name in sources.mountings else None
    )

    def down() -> str:
        x, y, z, w = quaternion.tolist()
        norm = x * x + y * y + z * z + w * w
        # Every comparison with NaN is false, so NaN is refused too.
        if not 0.98 < norm < 1.02:
            return f"a quaternion of squared norm {norm:.3g}"
        # Minus the third row of R(q), which equals R^T (0, 0, -1), for a q of any length.
        s = 2.0 / norm
        gravity[:] = (s * (w * y - x * z), -s * (y * z + w * x), s * (x * x + y * y) - 1.0)
        return ""

    def down_mounted() -> str:
        q = mounted() if mounted is not None else ""
        if isinstance(q, str):
            return q
        m = matrix(q)
        gravity[:] = (-m[6], -m[7], -m[8])
        return ""

    refresh = down if mounted is None else down_mounted
    sources.gravities.append((gravity, refresh))

    def bind(out: Array) -> Read:
        def read() -> str:
            fault = refresh()
            out[:] = gravity
            return fault

        return read

    return absolute(term.name or "projected_gravity", ("gravity.x", "gravity.y", "gravity.z"), bind)


@compiles(EulerAnglesTerm, HeadingTerm, Rotation6dTerm, QuaternionTerm)
def orientation(term: Orientation, sources: Sources, key: str) -> CompiledTerm:
    """Euler angles, heading, 6D rotation or the quaternion."""
    read_attitude = attitude(term.input, term.field, sources, key)
    elements, compute = _numbers_of(term)

    def bind(out: Array) -> Read:
        def read() -> str:
            q = read_attitude()
            if isinstance(q, str):
                return q
            out[:] = compute(q)
            return ""

        return read

    return absolute(term.name or term.term, elements, bind)


def _numbers_of(
    term: Orientation,
) -> tuple[tuple[str, ...], Callable[[Quaternion], tuple[float, ...]]]:
    if isinstance(term, EulerAnglesTerm):
        which = [("roll", "pitch", "yaw").index(angle) for angle in term.angles]

        def angles(q: Quaternion) -> tuple[float, ...]:
            found = euler(q)
            return tuple(found[k] for k in which)

        return tuple(term.angles), angles
    if isinstance(term, HeadingTerm):
        parts = tuple(term.parts)

        def heading(q: Quaternion) -> tuple[float, ...]:
            yaw = euler(q)[2]
            return tuple(math.sin(yaw) if part == "sin" else math.cos(yaw) for part in parts)

        return parts, heading
    if isinstance(term, Rotation6dTerm):
        layout, inverse = term.layout, term.inverse
        rows = ("R00", "R01", "R10", "R11", "R20", "R21")
        names = rows if layout == "rows" else ("R00", "R10", "R20", "R01", "R11", "R21")
        return names, lambda q: six_numbers(matrix(q), layout, inverse)
    order = [3, 0, 1, 2] if term.layout == "wxyz" else [0, 1, 2, 3]
    positive = term.positive_w

    def quaternion(q: Quaternion) -> tuple[float, ...]:
        sign = -1.0 if positive and q[3] < 0 else 1.0
        return tuple(sign * q[k] for k in order)

    return tuple(term.layout), quaternion
