"""Where the links of a robot are: a URDF's joints, turned by the measured joint positions.

Only viewers and recordings use it. It reads the few elements of a URDF that it needs, so it works
without the extra [urdf].
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from typing import NamedTuple

from policy_runner.core.errors import refuse
from policy_runner.core.observation.terms.rotation import (
    Quaternion,
    Vector,
    about_axis,
    from_euler,
    multiply,
    rotated,
)
from policy_runner.robot.urdf import MOST_BYTES

_X: Vector = (1.0, 0.0, 0.0)  # the axis of a joint that names none
_TURNS = ("revolute", "continuous")


class Transform(NamedTuple):
    """The pose of a child frame in its parent frame."""

    parent: str
    child: str
    translation: Vector  # x, y, z [m]
    rotation: Quaternion  # x, y, z, w


class _Joint(NamedTuple):
    name: str
    kind: str
    parent: str
    child: str
    origin: Vector
    turned: Quaternion  # of the origin
    axis: Vector  # unit length


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
                rotation = multiply(rotation, about_axis(one.axis, position))
            elif one.kind == "prismatic":
                way = rotated(rotation, one.axis)
                x, y, z = (a + b * position for a, b in zip(place, way, strict=True))
                place = (x, y, z)
            found.append(Transform(one.parent, one.child, place, rotation))
        return found

    def fixed(self) -> list[Transform]:
        """Return the pose of every link that a fixed joint carries."""
        poses = self.transforms({})
        return [pose for pose, one in zip(poses, self._joints) if one.kind == "fixed"]


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
    x, y, z = _three(given.get("xyz") if given is not None else None, _X, name)
    length = math.hypot(x, y, z)
    unit = (x / length, y / length, z / length) if length > 0.0 else _X
    kind = element.get("type", "")
    return _Joint(name, kind, parent, child, place, from_euler(*turn), unit)


def _three(text: str | None, default: Vector, joint: str) -> Vector:
    if text is None:
        return default
    numbers = tuple(float(word) for word in text.split())
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"joint {joint}: expected three numbers, got {text!r}")
    x, y, z = numbers
    return (x, y, z)
