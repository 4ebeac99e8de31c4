"""Rotations from quaternions in ROS order (x, y, z, w), body -> world, as plain Python floats.

For four numbers, creating an array costs more than the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from policy_runner.core.model import Array

Quaternion = tuple[float, float, float, float]
Vector = tuple[float, float, float]
Matrix = tuple[float, float, float, float, float, float, float, float, float]  # row by row


def unit(q: Quaternion) -> Quaternion | str:
    """The quaternion at length 1, or a fault: its squared norm is more than 2 % off 1, or NaN."""
    x, y, z, w = q
    norm = x * x + y * y + z * z + w * w
    # Every comparison with NaN is false, so NaN is refused too.
    if not 0.98 < norm < 1.02:
        return f"a quaternion of squared norm {norm:.3g}"
    s = 1.0 / math.sqrt(norm)
    return (x * s, y * s, z * s, w * s)


def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    """The Hamilton product a b: R(a b) = R(a) R(b)."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def conjugate(q: Quaternion) -> Quaternion:
    """The inverse of a unit quaternion."""
    x, y, z, w = q
    return (-x, -y, -z, w)


def matrix(q: Quaternion) -> Matrix:
    """R(q) row by row, for a unit quaternion: world vector = R(q) body vector."""
    x, y, z, w = q
    return (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip


def euler(q: Quaternion) -> tuple[float, float, float]:
    """(roll, pitch, yaw) [rad] of R = Rz(yaw) Ry(pitch) Rx(roll)."""
    m = matrix(q)
    pitch = math.asin(max(-1.0, min(1.0, -m[6])))
    return math.atan2(m[7], m[8]), pitch, math.atan2(m[3], m[0])


def from_euler(roll: float, pitch: float, yaw: float) -> Quaternion:
    """The unit quaternion of Rz(yaw) Ry(pitch) Rx(roll), angles in rad."""
    about_x = about("x", roll)
    return multiply(multiply(about("z", yaw), about("y", pitch)), about_x)


def about(axis: str, angle: float) -> Quaternion:
    """The unit quaternion that rotates by `angle` [rad] about the axis x, y or z."""
    s, c = math.sin(angle / 2), math.cos(angle / 2)
    return (s if axis == "x" else 0.0, s if axis == "y" else 0.0, s if axis == "z" else 0.0, c)


def about_axis(axis: tuple[float, float, float], angle: float) -> Quaternion:
    """The unit quaternion that rotates by `angle` [rad] about a unit vector."""
    s = math.sin(angle / 2)
    return (s * axis[0], s * axis[1], s * axis[2], math.cos(angle / 2))


def rotated(q: Quaternion, vector: Vector) -> Vector:
    """R(q) vector, for a unit quaternion."""
    m, (x, y, z) = matrix(q), vector
    return (
        m[0] * x + m[1] * y + m[2] * z,
        m[3] * x + m[4] * y + m[5] * z,
        m[6] * x + m[7] * y + m[8] * z,
    )


def rotation_vector(q: Quaternion) -> Vector:
    """Axis times angle [rad] of a unit quaternion; the angle is in [0, pi]."""
    x, y, z, w = q if q[3] >= 0 else (-q[0], -q[1], -q[2], -q[3])
    sine = math.sqrt(x * x + y * y + z * z)
    # Near no rotation, angle / sin(angle / 2) is 2.
    factor = 2.0 * math.atan2(sine, w) / sine if sine > 1e-12 else 2.0
    return (x * factor, y * factor, z * factor)


def yaw_only(q: Quaternion) -> Quaternion:
    """The rotation about the world's z in `q`, with the yaw of `euler`."""
    return about("z", euler(q)[2])


def slerp(a: Quaternion, b: Quaternion, share: float) -> Quaternion:
    """The rotation between two, the shorter way, at constant speed; `share` 0 is a, 1 is b."""
    dot = a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3]
    sign = -1.0 if dot < 0.0 else 1.0
    angle = math.acos(min(1.0, abs(dot)))
    if angle < 1e-8:
        first, second = 1.0 - share, share * sign
    else:
        first = math.sin((1.0 - share) * angle) / math.sin(angle)
        second = math.sin(share * angle) / math.sin(angle) * sign
    x, y, z, w = (first * p + second * q for p, q in zip(a, b, strict=True))
    return (x, y, z, w)


ROWS, COLUMNS = (0, 1, 3, 4, 6, 7), (0, 3, 6, 1, 4, 7)


def six_numbers(m: Matrix, layout: str, inverse: bool = False) -> tuple[float, ...]:
    """The first two columns of `m`, or of its transpose if `inverse`.

    `layout` rows: R00 R01 R10 ...; columns: R00 R10 R20 ...
    """
    if inverse:
        m = (m[0], m[3], m[6], m[1], m[4], m[7], m[2], m[5], m[8])
    return tuple(m[k] for k in (ROWS if layout == "rows" else COLUMNS))


def reader(quaternion: Array, mounting: Quaternion | None) -> Callable[[], Quaternion | str]:
    """Make a function that reads the rotation body -> world, or returns why it is unusable.

    Args:
        quaternion: the array of a message's quaternion, x, y, z, w, float64 [4].
        mounting: rotates sensor axes to body axes: R(world, body) = R(world, sensor)
            R(mounting)^T. None: sensor axes are body axes.
    """
    back = conjugate(mounting) if mounting is not None else None

    def read() -> Quaternion | str:
        x, y, z, w = quaternion.tolist()
        q = unit((x, y, z, w))
        if back is None or isinstance(q, str):
            return q
        return multiply(q, back)

    return read
