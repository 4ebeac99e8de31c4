"""Reads joint limits from a URDF with urdf_parser_py (the pip extra [urdf])."""

from __future__ import annotations

import contextlib
import functools
import io
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from policy_runner.core.errors import Problem, Refusal, did_you_mean, refuse
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.spec.base import NO_LIMIT, Limit
from policy_runner.core.spec.elements import KINDS, ActionElement, limit_names

MOST_BYTES = 16 * 1024 * 1024
_DECLARATION = re.compile(r"^\ufeff?\s*<\?xml[^>]*\?>")


@dataclass(frozen=True)
class UrdfJoint:
    """One joint's `<limit>` [rad, rad/s, N m; m, m/s, N]; None for values that the URDF lacks.

    `lower` and `upper` are None for a continuous joint.
    """

    kind: str
    lower: float | None
    upper: float | None
    velocity: float | None
    effort: float | None


@functools.lru_cache(maxsize=2)
def read_urdf(text: str, origin: str) -> Mapping[str, UrdfJoint]:
    """Return every joint of a URDF by the robot's name.

    Args:
        text: the URDF.
        origin: its file or topic, for errors.

    Raises:
        Refusal: the library is not installed, or the text is not a URDF.
    """
    if find_spec("urdf_parser_py") is None:
        remedy = "install the ROS package urdfdom_py, or pip install policy_runner[urdf]"
        raise refuse("", "parameter limits.urdf", "the library urdf_parser_py", "none", remedy)
    if len(text) > MOST_BYTES:
        got = f"{len(text)} characters"
        raise refuse(origin, "", f"a URDF of at most {MOST_BYTES} characters", got)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        # The XML library would expand entities and read the files that they name.
        raise refuse(origin, "", "a URDF without a document type or entities", "one with them")
    from urdf_parser_py.urdf import URDF

    try:
        # The library prints unknown tags, such as <ros2_control>, on stderr.
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            # Remove the declaration: another encoding would hide a document type from the check
            # above.
            robot = URDF.from_xml_string(_joints_alone(_DECLARATION.sub("", text)))
    except Exception as error:  # the library does not document its exceptions
        got = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise refuse(origin, "", "a URDF", got) from error
    found = {}
    for joint in robot.joints:
        limit = joint.limit
        bounded = limit is not None and joint.type in ("revolute", "prismatic")
        found[str(joint.name)] = UrdfJoint(
            str(joint.type),
            _number(limit.lower) if bounded else None,
            _number(limit.upper) if bounded else None,
            _number(limit.velocity) if limit is not None else None,
            _number(limit.effort) if limit is not None else None,
        )
    return found


def _joints_alone(text: str) -> bytes:
    """Remove the parts that limits do not depend on, such as transmissions and meshes.

    The library refuses a whole robot if such a part differs from the ROS 1 format.
    """
    root = ElementTree.fromstring(text.encode())
    for child in list(root):
        kept = {"link": (), "joint": ("parent", "child", "limit")}.get(child.tag)
        if kept is None:
            root.remove(child)
            continue
        for part in list(child):
            if part.tag not in kept:
                child.remove(part)
    return ElementTree.tostring(root)


def read_urdf_file(path: Path) -> Mapping[str, UrdfJoint]:
    """Read a URDF file; see `read_urdf`.

    Raises:
        Refusal: the file does not exist or cannot be read; or see `read_urdf`.
    """
    if not path.is_file():
        expected = "'topic', or the path of a URDF file"
        raise refuse("", "parameter limits.urdf", expected, f"'{path}'")
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise refuse(str(path), "", "a readable URDF", str(error)) from error
    return read_urdf(text, str(path))


def limits_of_urdf(
    joints: Mapping[str, UrdfJoint],
    elements: Sequence[ActionElement],
    robot: Mapping[str, RobotJoint],
    said: Sequence[Limit],
    origin: str,
) -> dict[str, Limit]:
    """Return the URDF's limits of the commanded joints, with the policy's signs.

    A position uses lower, upper, and velocity as its rate. A velocity uses +-velocity, an effort
    +-effort. Robot value = sign * policy value + offset.

    Args:
        joints: joints of the URDF by the robot's name.
        elements: elements of the policy's command.
        robot: policy joint name -> joint of the robot.
        said: limits that are already known, one for each element. A bad URDF limit is a problem
            only if the known limit does not replace it.
        origin: file or topic of the URDF, for errors.

    Returns:
        Limits by the names of `limit_names`.

    Raises:
        Refusal: the URDF lacks a commanded joint, or has limits with lower >= upper or a velocity
            <= 0.
    """
    problems: list[Problem | str] = []
    found: dict[str, Limit] = {}
    for name, element, known in zip(limit_names(elements), elements, said, strict=True):
        if not KINDS[element.kind].of_joints:
            continue
        called = robot[element.joint]
        given = joints.get(called.name)
        if given is None:
            hint = did_you_mean(called.name, joints)
            got = f"no '{called.name}'"
            problems.append(Problem(origin, "joint", "every commanded joint", got, hint))
            continue
        lower, upper, rate = _of_kind(given, element.kind, called)
        remedy = f"correct the URDF, or set the parameters of {name}"
        if lower is not None and upper is not None and not lower < upper:
            if known.lower is None or known.upper is None:
                got = f"{lower:g} to {upper:g}"
                key = f"joint {called.name}: limit"
                problems.append(Problem(origin, key, "room between its ends", got, remedy))
            lower = upper = None
        if rate is not None and rate <= 0.0:
            if known.max_rate is None:
                key = f"joint {called.name}: limit.velocity"
                problems.append(Problem(origin, key, "more than 0", f"{rate:g}", remedy))
            rate = None
        limit = Limit(lower=lower, upper=upper, max_rate=rate)
        if limit != NO_LIMIT:
            found[name] = limit
    if problems:
        raise Refusal(problems)
    return found


def _of_kind(
    given: UrdfJoint, kind: str, called: RobotJoint
) -> tuple[float | None, float | None, float | None]:
    """Return lower, upper and largest rate of the command, unchecked."""
    if kind != "position":
        most = given.velocity if kind == "velocity" else given.effort
        return (None, None, None) if most is None else (-most, most, None)
    ends = [
        None if end is None else called.sign * (end - called.offset)
        for end in (given.lower, given.upper)
    ]
    lower, upper = ends if called.sign > 0 else ends[::-1]
    return lower, upper, given.velocity


def _number(value: object) -> float | None:
    """Return the number, or None if it is missing or not finite (no limit)."""
    known = isinstance(value, (int, float)) and math.isfinite(value)
    return float(value) if known else None  # type: ignore[arg-type]
