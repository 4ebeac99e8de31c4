"""Finds, checks and sets fields of any message by path, such as `motor_cmd[3].q`."""

from __future__ import annotations

import array
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from policy_runner.core.errors import Problem, did_you_mean
from policy_runner.core.inputs.message_types import NUMBERS as PRIMITIVES
from policy_runner.core.model import cast_range
from policy_runner.ros.messages.types import describe_message

MOST_ELEMENTS = 10_000  # in a sequence that a path makes longer
_PART = re.compile(r"^(?P<field>[A-Za-z]\w*)(?:\[(?P<index>0|[1-9]\d{0,8})\])?$")
_ARRAY = re.compile(r"^(?P<element>[\w/]+)\[(?P<count>\d+)\]$")
_SEQUENCE = re.compile(r"^sequence<(?P<element>[\w/<>]+)(?:, (?P<most>\d+))?>$")
_TEXT = re.compile(r"^w?string(?:<\d+>)?$")
_HEADER = "std_msgs/Header"
# `orientation.yaw` sets z and w of a quaternion to sin and cos of half the angle [rad].
_QUATERNION, YAW = "geometry_msgs/Quaternion", "yaw"
NUMBERS = tuple(kind for kind in PRIMITIVES if kind not in ("boolean", "octet", "byte"))


class _Step(NamedTuple):
    field: str
    element: int | None


class _Field(NamedTuple):
    """The field that a path names."""

    steps: list[_Step]
    kind: str  # type of the field: a number, an array, text, or a message


class MessageFields:
    """Fields of one message type; errors are collected in `problems`."""

    def __init__(self, type_name: str) -> None:
        self._type = type_name
        self.problems: list[Problem | str] = []

    def number(self, key: str, path: str, angle: bool = False) -> tuple[str, ...]:
        """Check that `path` names one number of the message, and return the numbers that it sets.

        These are the path itself, and the four of a quaternion for its yaw.

        Args:
            key: the parameter that contains the path, for the problem.
            path: such as `motor_cmd[3].q`.
            angle: the path may be the yaw of a quaternion, `orientation.yaw`.
        """
        found = self._find(key, path)
        if found is not None and found.kind == YAW and angle:
            owner = path.removesuffix(YAW)
            return (path, *(owner + part for part in "xyzw"))
        if found is not None and found.kind not in NUMBERS:
            self._add(key, "paths of one number each", f"'{path}', which is {_named(found.kind)}")
        return (path,)

    def fill(self, message: Any, numbers: Mapping[str, str], constants: Mapping[str, Any]) -> None:
        """Make sequences long enough for every path, and set the constants.

        Args:
            message: changed in place.
            numbers: path -> parameter that names it; `number` has checked each path.
            constants: path -> value.
        """
        key = "parameter command.constants"
        found = {path: self._find(key, path) for path in constants}
        singles = {}
        for path, field in found.items():
            if field is None:
                continue
            if path in numbers:
                self._add(key, "every number once", f"'{path}', which {numbers[path]} names")
            elif ("/" in field.kind and not _is_list(field.kind)) or field.kind == YAW:
                self._add(key, "paths of numbers, text and their arrays", f"'{path}'")
            elif _is_list(field.kind):  # set lists first, because they define a sequence's length
                self._set(message, key, path, field, constants[path])
            else:
                singles[path] = field
        if self.problems:
            return
        self._grow(message, {**numbers, **dict.fromkeys(singles, key)})
        if self.problems:
            return
        for path, field in singles.items():
            self._set(message, key, path, field, constants[path])

    def set_number(self, message: Any, key: str, path: str, value: float) -> None:
        """Set one number, such as a gain; `key` names the parameter in a problem."""
        found = self._find(key, path)
        if found is not None:
            whole = found.kind not in ("float", "double")
            given = int(value) if whole and float(value).is_integer() else value
            self._set(message, key, path, found, given)

    def _add(self, key: str, expected: str, got: str, remedy: str = "") -> None:
        self.problems.append(Problem("", key, f"{expected} of {self._type}", got, remedy))

    def _find(self, key: str, path: str) -> _Field | None:
        """Find the field that the path names; add a problem and return None if there is none."""
        steps: list[_Step] = []
        kind = self._type.replace("/msg/", "/")
        parts = path.split(".")
        for depth, part in enumerate(parts):
            match = _PART.match(part)
            if match is None:
                self._add(key, "paths such as `a.b[3].c`, indices from 0 on,", f"'{path}'")
                return None
            fields = describe_message(kind) if "/" in kind and not _is_list(kind) else {}
            if kind == _QUATERNION and part == YAW and depth == len(parts) - 1:
                return _Field([*steps, _Step(YAW, None)], YAW)
            if kind == _HEADER and part == "stamp":
                self._add(key, "paths without the stamp, which every tick writes,", f"'{path}'")
                return None
            if match["field"] not in fields:
                hint = did_you_mean(match["field"], list(fields))
                self._add(key, f"fields ({', '.join(fields) or 'none'})", f"'{path}'", hint)
                return None
            kind = fields[match["field"]]
            index = None if match["index"] is None else int(match["index"])
            steps.append(_Step(match["field"], index))
            if index is not None:
                element = self._element(key, path, kind, index)
                if element is None:
                    return None
                kind = element
        return _Field(steps, kind)

    def _element(self, key: str, path: str, kind: str, index: int) -> str | None:
        if not _is_list(kind):
            self._add(key, "an index at arrays alone", f"'{path}', which is {_named(kind)}")
            return None
        growing = _SEQUENCE.match(kind)
        most = MOST_ELEMENTS
        if growing is None:
            most = _count_of(kind)
        elif growing["most"]:
            most = min(most, int(growing["most"]))
        if index >= most:
            self._add(key, f"an index below {most} in '{path}'", f"{index}")
            return None
        return _element_of(kind)

    def _grow(self, message: Any, paths: Mapping[str, str]) -> None:
        """Make every sequence as long as its largest index needs.

        Paths must name every new element; a gap is a problem.
        """
        wanted: dict[str, set[int]] = {}  # path of a sequence -> indices
        keys: dict[str, str] = {}
        for path, key in paths.items():
            for match in re.finditer(r"\[(\d+)\]", path):
                sequence = path[: match.start()]
                wanted.setdefault(sequence, set()).add(int(match[1]))
                keys.setdefault(sequence, key)
        for sequence in sorted(wanted, key=len):  # outer sequences first
            owner, kind = self._owner(message, sequence)
            name = sequence.rpartition(".")[2]
            present = getattr(owner, name)
            growing = _SEQUENCE.match(kind)
            if growing is None:
                continue
            size = 1 + max(wanted[sequence])
            missing = set(range(len(present), size)) - wanted[sequence]
            if missing:
                got = f"none of {sequence}[{min(missing)}], but of {sequence}[{size - 1}]"
                self._add(keys[sequence], "every element below the last one", got)
                return
            element = growing["element"]
            for _ in range(len(present), size):
                present.append(_empty(element, present))

    def _owner(self, message: Any, path: str) -> tuple[Any, str]:
        """Return the message that contains the last field of the path, and that field's type."""
        *parents, last = path.split(".")
        kind = self._type.replace("/msg/", "/")
        for part in parents:
            name, _, index = part.removesuffix("]").partition("[")
            kind, message = describe_message(kind)[name], getattr(message, name)
            if index:
                message = message[int(index)]
                kind = _element_of(kind)
        return message, describe_message(kind)[last.partition("[")[0]]

    def _set(self, message: Any, key: str, path: str, field: _Field, value: Any) -> None:
        try:
            fitting = _fitting(value, field.kind)
        except ValueError as error:
            self._add(key, f"{error} for '{path}'", f"{value!r}")
            return
        owner, _ = self._owner(message, path)
        last = field.steps[-1]
        if last.element is None:
            setattr(owner, last.field, fitting)
        else:
            getattr(owner, last.field)[last.element] = fitting


def _is_list(kind: str) -> bool:
    return _ARRAY.match(kind) is not None or _SEQUENCE.match(kind) is not None


def _named(kind: str) -> str:
    return "an array" if _is_list(kind) else kind


def _empty(element: str, present: Any) -> Any:
    """Create a new element of a sequence."""
    if "/" in element:
        package, _, name = element.partition("/")
        return getattr(__import__(f"{package}.msg", fromlist=[name]), name)()
    if _TEXT.match(element):
        return ""
    if element == "boolean":
        return False
    if element in ("octet", "byte"):
        return b"\0"
    is_float = isinstance(present, array.array) and present.typecode in "fd"
    return 0.0 if is_float else 0


def _fitting(value: Any, kind: str) -> Any:
    """Convert the value to the type of a field.

    Raises:
        ValueError: the value does not fit; the text is the expected value.
    """
    if _is_list(kind):
        return _fitting_list(value, kind)
    if _TEXT.match(kind):
        if isinstance(value, (dict, list)) or value is None:
            raise ValueError("text")
        return str(value)
    if kind == "boolean":
        if not isinstance(value, bool):
            raise ValueError("true or false")
        return value
    low, high = cast_range("u1" if kind in ("octet", "byte") else PRIMITIVES[kind].dtype)
    if kind in ("float", "double"):
        if isinstance(value, str):  # YAML reads 1e3 as text
            value = _number(value)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not low <= value <= high:
            raise ValueError(f"a finite number that a {kind} holds")
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"an integer from {low:.0f} to {high:.0f}")
    return bytes([value]) if kind in ("octet", "byte") else value


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _fitting_list(value: Any, kind: str) -> list[Any]:
    element, growing = _element_of(kind), _SEQUENCE.match(kind)
    if "/" in element:
        raise ValueError("no list of messages")
    most = MOST_ELEMENTS
    if growing is None:
        most = _count_of(kind)
    elif growing["most"]:
        most = int(growing["most"])
    few = not isinstance(value, list) or (growing is None and len(value) != most)
    if few or len(value) > most:
        raise ValueError(f"a list of {most}" if growing is None else f"a list of at most {most}")
    return [_fitting(one, element) for one in value]


def _element_of(kind: str) -> str:
    """Return the type of an array's elements."""
    match = _ARRAY.match(kind) or _SEQUENCE.match(kind)
    assert match is not None
    return match["element"]


def _count_of(kind: str) -> int:
    """Return the number of elements of a fixed array."""
    match = _ARRAY.match(kind)
    assert match is not None
    return int(match["count"])
