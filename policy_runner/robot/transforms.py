"""Where the links of a robot are: a URDF's joints, turned by the measured joint positions.

Only viewers and recordings use it. It reads the few elements of a URDF that it needs, so it works
without the extra [urdf].
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.robot.urdf import MOST_BYTES

Numbers = tuple[float, ...]
_TURNS = ("revolute", "continuous")


class Transform(NamedTuple):
    """The pose of a child frame in its parent frame."""

    parent: str
    child: str
    translation: Numbers  # x, y, z [m]
    rotation: Numbers  # quaternion x, y, z, w


class _Joint(NamedTuple):
    name: str
    kind: str
    parent: str
    child: str
    origin: Numbers
    turned: Numbers  # of the origin: quaternion x, y, z, w
    axis: Numbers  # unit length


class LinkTree:
    """The links of a URDF and their joints."""

    def __init__(self, urdf: str, origin: str) -> None:
        """Read a URDF.

        Args:
            urdf: the text.
            origin: its file or topic, for errors.

        Raises:
            Refusal: the text is not a URDF.
        """
        if len(urdf) > MOST_BYTES:
            expected = f"a URDF of at most {MOST_BYTES} characters"
            raise refuse(origin, "", expected, f"{len(urdf)} characters")
        if "<!DOCTYPE" in urdf or "<!ENTITY" in urdf:
            # The XML library would expand entities and read the files that they name.
            raise refuse(origin, "", "a URDF without a document type or entities", "one with them")
        try:
            root = ElementTree.fromstring(urdf.encode())
            self._joints = [_joint(one) for one in root.findall("joint")]
        except (ElementTree.ParseError, ValueError) as error:
            raise refuse(origin, "", "a URDF", str(error)) from error

    def transforms(self, positions: Mapping[str, float]) -> list[Transform]:
        """Return the pose of every link in its parent.

        Args:
            positions: by joint, rad or m. A joint without a position is at 0.
        """
        found = []
        for one in self._joints:
            position = positions.get(one.name, 0.0)
            place, rotation = one.origin, one.turned
            if one.kind in _TURNS:
                rotation = _product(rotation, _about(one.axis, position))
            elif one.kind == "prismatic":
                shift = _rotate(rotation, tuple(part * position for part in one.axis))
                place = tuple(a + b for a, b in zip(place, shift, strict=True))
            found.append(Transform(one.parent, one.child, place, rotation))
        return found


def _joint(element: ElementTree.Element) -> _Joint:
    ends = [element.find(tag) for tag in ("parent", "child")]
    name = element.get("name", "")
    if not name or any(end is None for end in ends):
        raise ValueError(f"joint {name!r}: expected a name, a parent and a child")
    parent, child = (end.get("link", "") for end in ends if end is not None)
    origin = element.find("origin")
    place, turn = (
        _three(origin.get(key) if origin is not None else None, (0.0, 0.0, 0.0), name)
        for key in ("xyz", "rpy")
    )
    given = element.find("axis")
    axis = np.array(_three(given.get("xyz") if given is not None else None, (1.0, 0.0, 0.0), name))
    length = float(np.linalg.norm(axis))
    unit = tuple((axis / length).tolist()) if length > 0.0 else (1.0, 0.0, 0.0)
    kind = element.get("type", "")
    return _Joint(name, kind, parent, child, place, _from_rpy(*turn), unit)


def _three(text: str | None, default: Numbers, joint: str) -> Numbers:
    if text is None:
        return default
    numbers = tuple(float(word) for word in text.split())
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"joint {joint}: expected three numbers, got {text!r}")
    return numbers


def _about(axis: Numbers, angle: float) -> Numbers:
    sine = math.sin(angle / 2)
    return (*(part * sine for part in axis), math.cos(angle / 2))


def _from_rpy(roll: float, pitch: float, yaw: float) -> Numbers:
    """Fixed axes x, y, z in this order, as a URDF's `rpy`."""
    about_x = _about((1.0, 0.0, 0.0), roll)
    about_y = _about((0.0, 1.0, 0.0), pitch)
    about_z = _about((0.0, 0.0, 1.0), yaw)
    return _product(about_z, _product(about_y, about_x))


def _product(one: Numbers, other: Numbers) -> Numbers:
    """Hamilton product of two quaternions x, y, z, w."""
    ax, ay, az, aw = one
    bx, by, bz, bw = other
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def _rotate(turn: Numbers, vector: Numbers) -> Numbers:
    x, y, z, w = turn
    turned = _product(_product(turn, (*vector, 0.0)), (-x, -y, -z, w))
    return turned[:3]
