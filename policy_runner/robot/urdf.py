"""Joint limits out of a URDF, read with urdf_parser_py (the pip extra [urdf])."""

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
    """One joint's `<limit>` [rad, rad/s, N m; m, m/s, N]; None where the URDF says nothing.

    Of a continuous joint lower and upper say nothing.
    """

    kind: str
    lower: float | None
    upper: float | None
    velocity: float | None
    effort: float | None


@functools.lru_cache(maxsize=2)
def read_urdf(text: str, origin: str) -> Mapping[str, UrdfJoint]:
    """Every joint of a URDF by the robot's name; `origin` is the file or topic, for sentences.

    Raises:
        Refusal: the library is not there, or the text is no URDF.
    """
    if find_spec("urdf_parser_py") is None:
        remedy = "install the ROS package urdfdom_py, or pip install policy_runner[urdf]"
        raise refuse("", "parameter limits.urdf", "the library urdf_parser_py", "none", remedy)
    if len(text) > MOST_BYTES:
        got = f"{len(text)} characters"
        raise refuse(origin, "", f"a URDF of at most {MOST_BYTES} characters", got)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        # The XML library below would expand them, and read the files that they name.
        raise refuse(origin, "", "a URDF without a document type or entities", "one with them")
    from urdf_parser_py.urdf import URDF

    try:
        # It says on stderr what it does not know, such as <ros2_control>.
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            # Without its declaration: another encoding would hide a document type from above.
            robot = URDF.from_xml_string(_joints_alone(_DECLARATION.sub("", text)))
    except Exception as error:  # the library raises whatever its parts raise
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
    """The same without what limits do not depend on, such as transmissions and meshes.

    The library refuses a whole robot for a tag in there that is not as it was in ROS 1.
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
    """As `read_urdf`, from a file.

    Raises:
        Refusal: no such file, or as `read_urdf`.
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
    """Limits by the names of `limit_names`, in policy signs, of what `said` leaves open.

    A position takes lower, upper, and velocity as its rate; a velocity +-velocity, an effort
    +-effort. Robot value = sign * policy value + offset.

    Raises:
        Refusal: a commanded joint that the URDF does not have, or limits that leave it no room.
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
    """lower, upper, largest rate of the command, unchecked."""
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
    """None for what is not there, or no limit."""
    known = isinstance(value, (int, float)) and math.isfinite(value)
    return float(value) if known else None  # type: ignore[arg-type]
