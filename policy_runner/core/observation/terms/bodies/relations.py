"""Terms of two poses: A in the frame of B, the rotation between them, their difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from policy_runner.core.errors import refuse
from policy_runner.core.inputs.slot import Read
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.bodies.poses import Pose, ReadPose, pose_reader
from policy_runner.core.observation.terms.rotation import (
    COLUMNS,
    ROWS,
    Quaternion,
    conjugate,
    euler,
    matrix,
    multiply,
    rotated,
    rotation_vector,
    yaw_only,
)
from policy_runner.core.observation.terms.sources import CompiledTerm, Sources, absolute, compiles
from policy_runner.core.spec import PoseInFrameTerm, PositionDifferenceTerm, RelativeRotationTerm

Numbers = Callable[[Pose, Pose], Sequence[float]]
_PARTS = {
    "position": ("x", "y", "z"),
    "position_xy": ("x", "y"),
    "quaternion_xyzw": ("qx", "qy", "qz", "qw"),
    "quaternion_wxyz": ("qw", "qx", "qy", "qz"),
    "yaw": ("yaw",),
}
# The entries of the matrix, row by row from 0 to 8, that a part has.
_ENTRIES: dict[str, tuple[int, ...]] = {
    "rotation_6d_rows": ROWS,
    "rotation_6d_columns": COLUMNS,
    "two_rows": (0, 1, 2, 3, 4, 5),
    "matrix": tuple(range(9)),
    **{f"row_{k}": (3 * k, 3 * k + 1, 3 * k + 2) for k in range(3)},
    **{f"column_{k}": (k, 3 + k, 6 + k) for k in range(3)},
}


def _of_two(
    name: str, elements: Sequence[str], read_a: ReadPose, read_b: ReadPose, numbers: Numbers
) -> CompiledTerm:
    def bind(out: Array) -> Read:
        def read() -> str:
            a, b = read_a(), read_b()
            if isinstance(a, str):
                return a
            if isinstance(b, str):
                return b
            out[:] = numbers(a, b)
            return ""

        return read

    return absolute(name, tuple(elements), bind)


def _positive(q: Quaternion) -> Quaternion:
    return (-q[0], -q[1], -q[2], -q[3]) if q[3] < 0 else q


@compiles(PoseInFrameTerm)
def pose_in_frame(term: PoseInFrameTerm, sources: Sources, key: str) -> CompiledTerm:
    """Position R_B^T (p_A - p_B) and orientation R_B^T R_A of A in B."""
    parts = tuple(term.parts)

    def numbers(a: Pose, b: Pose) -> list[float]:
        back = conjugate(b[1])
        position = rotated(back, _difference(a, b))
        q = _positive(multiply(back, a[1]))
        found: list[float] = []
        for part in parts:
            if part == "position":
                found += position
            elif part == "position_xy":
                found += position[:2]
            elif part == "yaw":
                found.append(euler(q)[2])
            else:
                found += q if part == "quaternion_xyzw" else (q[3], q[0], q[1], q[2])
        return found

    return _of_two(
        term.name or "pose_in_frame",
        [element for part in parts for element in _PARTS[part]],
        pose_reader(term.pose, sources, f"{key}.pose", "pose"),
        pose_reader(term.frame, sources, f"{key}.frame", "pose"),
        numbers,
    )


def _difference(a: Pose, b: Pose) -> tuple[float, float, float]:
    return a[0][0] - b[0][0], a[0][1] - b[0][1], a[0][2] - b[0][2]


@compiles(RelativeRotationTerm)
def relative_rotation(term: RelativeRotationTerm, sources: Sources, key: str) -> CompiledTerm:
    """Numbers of R_A R_B^T or of R_B^T R_A."""
    parts, in_world = tuple(term.parts), term.product == "a_b_inverse"
    positive = term.positive_w

    def numbers(a: Pose, b: Pose) -> list[float]:
        back = conjugate(b[1])
        q = multiply(a[1], back) if in_world else multiply(back, a[1])
        if positive:
            q = _positive(q)
        m = matrix(q)
        found: list[float] = []
        for part in parts:
            if part in _ENTRIES:
                found += [m[k] for k in _ENTRIES[part]]
            elif part == "rotation_vector":
                found += rotation_vector(q)
            elif part.startswith("quaternion"):
                found += q if part == "quaternion_xyzw" else (q[3], q[0], q[1], q[2])
            else:
                found.append(euler(q)[("roll", "pitch", "yaw").index(part)])
        return found

    return _of_two(
        term.name or "relative_rotation",
        [element for part in parts for element in _rotation_elements(part)],
        pose_reader(term.a, sources, f"{key}.a", "orientation"),
        pose_reader(term.b, sources, f"{key}.b", "orientation"),
        numbers,
    )


def _rotation_elements(part: str) -> tuple[str, ...]:
    if part in _ENTRIES:
        return tuple(f"R{k // 3}{k % 3}" for k in _ENTRIES[part])
    if part == "rotation_vector":
        return ("rx", "ry", "rz")
    return _PARTS.get(part, (part,))


@compiles(PositionDifferenceTerm)
def position_difference(term: PositionDifferenceTerm, sources: Sources, key: str) -> CompiledTerm:
    """p_A - p_B in the axes of the world or of a body."""
    parts = ["xyz".index(part) for part in term.parts]
    body, yaw = term.axes.removesuffix("_yaw"), term.axes.endswith("_yaw")
    if (term.frame is None) == (body == "frame"):
        got = "none" if term.frame is None else f"axes {term.axes}"
        raise refuse(sources.file, f"{key}.frame", "`frame` exactly with axes frame", got)
    frame = None
    if term.frame is not None:
        frame = pose_reader(term.frame, sources, f"{key}.frame", "orientation")
    needs = {name: "pose" if name == body else "position" for name in ("a", "b")}
    read_a = pose_reader(term.a, sources, f"{key}.a", needs["a"])
    read_b = pose_reader(term.b, sources, f"{key}.b", needs["b"])

    def bind(out: Array) -> Read:
        def read() -> str:
            a, b = read_a(), read_b()
            axes = frame() if frame is not None else a if body == "a" else b
            for one in (a, b, axes):
                if isinstance(one, str):
                    return one
            assert not isinstance(a, str)
            assert not isinstance(b, str)
            assert not isinstance(axes, str)
            difference = _difference(a, b)
            if body != "world":
                q = yaw_only(axes[1]) if yaw else axes[1]
                difference = rotated(conjugate(q), difference)
            out[:] = [difference[k] for k in parts]
            return ""

        return read

    return absolute(term.name or "position_difference", tuple(term.parts), bind)
