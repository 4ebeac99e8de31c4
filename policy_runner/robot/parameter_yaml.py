"""Reads one parameter file like rcl does, so that commands and nodes judge it the same way.

rcl has its own rules for the type of a plain value (`yes` is true, `1e3` a number, `~` a string).
They differ from the rules of a YAML library. Everything that rcl refuses is refused here, in a
sentence with the line. Input that rcl accepts but reads in an unexpected way is refused too: a
repeated key, tags, an empty mapping.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from policy_runner.core.errors import Problem, Refusal, refuse

PARAMETERS = "ros__parameters"
_MOST_BYTES = 4 * 2**20
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TRUE = frozenset(["Y", "y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"])
_FALSE = frozenset(["N", "n", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"])
_LONGEST_WHOLE = 100  # characters
_FRAME = (
    yaml.StreamStartEvent,
    yaml.StreamEndEvent,
    yaml.DocumentStartEvent,
    yaml.DocumentEndEvent,
)
_WHOLE = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_HEX_NUMBER = re.compile(
    r"[+-]?0[xX]([0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)([pP][+-]?[0-9]+)?"
)
_INFINITE = re.compile(r"([+-]?)(\.(inf|Inf|INF)|(?i:inf|infinity))")
_NOT_A_NUMBER = re.compile(r"\.(nan|NaN|NAN)|[+-]?(?i:nan)")
_TOKEN = r"[A-Za-z_][A-Za-z0-9_]*"
# rcl accepts /** for all nodes, or a node's name or *, below a namespace or below /** .
_SECTION = re.compile(rf"/\*\*|/?(\*\*/|({_TOKEN}/)*)({_TOKEN}|\*)")


@dataclass
class Section:
    """The parameters in one section of a file, for the nodes that match its name."""

    name: str  # as written, with a "/" in front: "/**/policy_runner"
    keys: dict[str, Any] = field(default_factory=dict)  # flat: "safety.max_tilt" -> value
    file: str = ""


def read_parameter_file(path: Path) -> list[Section]:
    """Return every section of a parameter file, in order.

    Raises:
        Refusal: the file cannot be read, or rcl would not accept it; only the first problem.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        got = error.strerror or str(error)
        raise refuse(str(path), "", "a parameter file", got.lower()) from error
    if len(content) > _MOST_BYTES:
        expected = f"a parameter file of at most {_MOST_BYTES // 2**20} MiB"
        raise refuse(str(path), "", expected, f"{len(content)} bytes")
    return _Reader(path, content).read()


def section_fits(section: str, node: str) -> bool:
    """Return whether a section applies to a node: `*` matches one name, `**` any number of names.

    Args:
        section: name of the section, see `Section`.
        node: fully qualified node name, such as "/robot/policy_runner".
    """
    pattern = re.escape(section).replace(r"/\*\*", "(/[A-Za-z0-9_]+)*")
    return re.fullmatch(pattern.replace(r"/\*", "(/[A-Za-z0-9_]+)"), node) is not None


def typed_value(text: str, quoted: bool = False) -> Any:
    """Convert the text of a value like rcl: into a bool, an integer, a float or a string.

    `quoted`: the value was in quotes, so it is a string.
    """
    if quoted:
        return text
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _WHOLE.fullmatch(text) and len(text) < _LONGEST_WHOLE:
        digits = text.lstrip("+-")
        base = 16 if digits[:2] in ("0x", "0X") else 8 if digits.startswith("0") else 10
        whole = int(text, base)
        if -(2**63) <= whole < 2**63:
            return whole
    if _INFINITE.fullmatch(text):
        return -math.inf if text.startswith("-") else math.inf
    if _NOT_A_NUMBER.fullmatch(text):
        return math.nan
    if not (_NUMBER.fullmatch(text) or _HEX_NUMBER.fullmatch(text)):
        return text
    try:
        number = float.fromhex(text) if "x" in text.lower() else float(text)
    except OverflowError:
        return text
    # rcl reads a number outside the range of a float as a string.
    fraction = re.split("[eEpP]" if "x" not in text.lower() else "[pP]", text)[0]
    is_zero = not re.search("[1-9a-fA-F]", fraction.lower().replace("0x", ""))
    in_range = sys.float_info.min <= abs(number) < math.inf
    return number if in_range or (number == 0.0 and is_zero) else text


def argument_value(text: str) -> Any:
    """Convert the value in `-p name:=value` like rcl.

    Raises:
        ValueError: the text is neither a plain value nor a list of plain values.
    """
    try:
        read: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        events = [event for event in read if not isinstance(event, _FRAME)]
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    inner = events[1:-1] if events and isinstance(events[0], yaml.SequenceStartEvent) else events
    if not events or not all(isinstance(event, yaml.ScalarEvent) for event in inner):
        raise ValueError("neither a value nor a list of them")
    values = [typed_value(event.value, event.style in ("'", '"')) for event in inner]
    return values if inner is not events else values[-1]


class _Reader:
    def __init__(self, path: Path, content: bytes) -> None:
        self._path = path
        self._content = content
        self._events: Iterator[Any] = iter(())
        self._sections: list[Section] = []
        self._lines: dict[tuple[str, str], int] = {}  # (section, key) -> line
        self._last = ""  # the key that was read last

    def read(self) -> list[Section]:
        try:
            self._events = iter(yaml.parse(self._content, Loader=_LOADER))
            self._stream()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark is not None else 0
            what = " ".join(f"{error.context or ''} {error.problem or ''}".split())
            if b"\t" in b"".join(self._content.splitlines()[line - 1 : line]):
                what = f"a tab: {what}"
            raise Refusal([self._problem(line, self._last, "YAML", what)]) from None
        except (yaml.YAMLError, UnicodeError, ValueError) as error:
            what = " ".join(str(error).split())[:200]
            raise Refusal([Problem(str(self._path), "", "YAML", what)]) from None
        return self._sections

    def _stream(self) -> None:
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._refusal(event, "", "one document", "a second one")
            elif isinstance(event, yaml.MappingStartEvent):
                self._names("", event)
            elif isinstance(event, yaml.ScalarEvent) and not event.value and not event.style:
                continue  # an empty file
            elif isinstance(event, (yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.AliasEvent)):
                got = "a list" if isinstance(event, yaml.SequenceStartEvent) else "a value"
                raise self._refusal(event, "", "names of nodes, and their parameters below", got)

    def _names(self, prefix: str, start: Any) -> None:
        """Read a mapping of names: namespaces, nodes, and `ros__parameters` below a node."""
        self._plain(start, prefix)
        seen: set[str] = set()
        alone = ""
        while (key := self._key(prefix, seen)) is not None:
            name = key.value
            value = next(self._events)
            if name == PARAMETERS and not prefix:
                raise self._refusal(key, name, "the name of a node above it", "none")
            if alone or (name == PARAMETERS and len(seen) > 1):
                expected = f"nothing next to {PARAMETERS}"
                raise self._refusal(key, prefix, expected, alone if name == PARAMETERS else name)
            if name == PARAMETERS:
                alone = name
                self._parameters(prefix, key, value)
            elif isinstance(value, yaml.MappingStartEvent):
                slash = "" if not prefix or prefix.endswith("/") else "/"
                self._names(f"{prefix}{slash}{name}", value)
            else:
                expected = f"{PARAMETERS} above the parameters of a node"
                got = "a list" if isinstance(value, yaml.SequenceStartEvent) else "a value"
                where = f"{prefix}: {name}" if prefix else name
                raise self._refusal(value, where, expected, got)

    def _parameters(self, name: str, key: Any, value: Any) -> None:
        if not _SECTION.fullmatch(name):
            expected = "the name of a node, such as /**/policy_runner or /robot/policy_runner"
            raise self._refusal(key, "", expected, f"'{name}'")
        if not isinstance(value, yaml.MappingStartEvent):
            raise self._refusal(value, f"{name}: {PARAMETERS}", "parameters below it", "a value")
        full = name if name.startswith("/") else f"/{name}"
        section = next((s for s in self._sections if s.name == full), None)
        if section is None:
            section = Section(full, file=str(self._path))
            self._sections.append(section)
        self._values(section, "", value)

    def _values(self, section: Section, prefix: str, start: Any) -> None:
        where = f"{section.name}: {prefix.removesuffix('.')}".removesuffix(": ")
        self._plain(start, where)
        seen: set[str] = set()
        while (key := self._key(where, seen)) is not None:
            name = f"{prefix}{key.value}"
            at = f"{section.name}: {name}"
            value = next(self._events)
            if isinstance(value, yaml.MappingStartEvent):
                self._values(section, f"{name}.", value)
                continue
            if name in section.keys:
                first = self._lines[section.name, name]
                raise self._refusal(key, at, "each key once", f"it in line {first} as well")
            self._lines[section.name, name] = key.start_mark.line + 1
            if isinstance(value, yaml.SequenceStartEvent):
                self._plain(value, at)
                section.keys[name] = self._list(at)
            else:
                section.keys[name] = self._scalar(at, value)
        if prefix and not seen:
            raise self._refusal(start, where, "a value, or keys below it", "{}")

    def _list(self, at: str) -> list[Any]:
        values: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                what = "a mapping" if isinstance(event, yaml.MappingStartEvent) else "a list"
                raise self._refusal(event, at, "a list of plain values", f"{what} in it")
            value = self._scalar(at, event)
            if values and type(value) is not type(values[0]):
                kinds = [_KINDS[type(one)] for one in (values[0], value)]
                got = f"{kinds[0]} and {kinds[1]} ({event.value})"
                raise self._refusal(event, at, "a list with values of one type", got)
            values.append(value)
        return values

    def _scalar(self, at: str, event: Any) -> Any:
        if isinstance(event, yaml.AliasEvent):
            raise self._refusal(event, at, "a value", f"the alias *{event.anchor}")
        self._plain(event, at)
        quoted = event.style in ("'", '"')
        if not event.value and not quoted:
            raise self._refusal(event, at, "a value", "none")
        if "\0" in event.value:
            raise self._refusal(event, at, "text", "a character with code 0")
        return typed_value(event.value, quoted)

    def _key(self, where: str, seen: set[str]) -> Any:
        """Return the next key of a mapping, or None at its end."""
        event = next(self._events)
        if isinstance(event, yaml.MappingEndEvent):
            return None
        if not isinstance(event, yaml.ScalarEvent) or not event.value or "\0" in event.value:
            raise self._refusal(event, where, "a name as key", "another thing")
        self._plain(event, where)
        if event.value in seen:
            at = f"{where}: {event.value}" if where else event.value
            raise self._refusal(event, at, "each key once", "it twice")
        seen.add(event.value)
        self._last = f"{where}: {event.value}" if where else str(event.value)
        return event

    def _plain(self, event: Any, where: str) -> None:
        if event.tag is not None:
            raise self._refusal(event, where, "values without tags", event.tag)

    def _refusal(self, event: Any, key: str, expected: str, got: str) -> Refusal:
        return Refusal([self._problem(event.start_mark.line + 1, key, expected, got)])

    def _problem(self, line: int, key: str, expected: str, got: str) -> Problem:
        where = f"line {line}: {key}" if key else f"line {line}"
        return Problem(str(self._path), where, expected, got)


_KINDS = {bool: "a bool", int: "an integer", float: "a float", str: "a string"}
