"""Message types as trees of numbers, texts, arrays and sequences, which describe the bytes.

A tree is built once per type, from the type's own description of its fields. `cdr.py` uses it to
walk through messages. During configure, field paths such as `motor_cmd[3].q` are checked with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

Describe = Callable[[str], Mapping[str, str]]  # type name -> {field: type}, in order


@dataclass(frozen=True)
class Number:
    """A boolean, an integer or a float; `dtype` is numpy's, without the byte order."""

    dtype: str
    size: int  # [bytes]; also its alignment
    fixed = True
    readable = True


@dataclass(frozen=True)
class Text:
    """A string of at most `bound` bytes; None: any length."""

    bound: int | None
    fixed = False
    readable = True


@dataclass(frozen=True)
class Unknown:
    """A field that cannot be read, such as a wstring: no field after it can be located."""

    kind: str
    fixed = False
    readable = False


@dataclass(frozen=True)
class Items:
    """An array of `count` elements. `count` None: a sequence of at most `bound` elements.

    `bound` None: any number of elements.
    """

    element: Node
    count: int | None
    bound: int | None = None

    @property
    def fixed(self) -> bool:
        """Whether it has the same number of bytes in every message, without alignment."""
        return self.count is not None and self.element.fixed

    @property
    def readable(self) -> bool:
        """Whether all its parts can be located."""
        return self.element.readable

    @property
    def most(self) -> int | None:
        """The largest number of elements; None: no maximum."""
        return self.bound if self.count is None else self.count


@dataclass(frozen=True)
class MessageType:
    """A message and its fields in order. For `fixed` and `readable` see `Items`."""

    name: str
    fields: Mapping[str, Node]
    fixed: bool
    readable: bool

    def __hash__(self) -> int:
        return hash(self.name)


Node = Number | Text | Unknown | Items | MessageType

# Name in the message definition language -> its number type in bytes.
NUMBERS = {
    **dict.fromkeys(("octet", "byte", "char", "uint8"), Number("u1", 1)),
    "boolean": Number("?", 1),
    "int8": Number("i1", 1),
    **{f"{kind}{8 * size}": Number(f"{kind[0]}{size}", size)
       for kind in ("int", "uint") for size in (2, 4, 8)},
    "float": Number("f4", 4),
    "double": Number("f8", 8),
}  # fmt: skip
_ARRAY = re.compile(r"^(?P<element>.+)\[(?P<count>\d+)\]$")
_SEQUENCE = re.compile(r"^sequence<(?P<element>.+?)(?:, ?(?P<bound>\d+))?>$")
_STRING = re.compile(r"^string(?:<(?P<bound>\d+)>)?$")
_STEP = re.compile(r"^(?P<name>\w*)(?:\[(?P<index>[^\[\]]*)\])?$")


@lru_cache(maxsize=256)
def message_type(type_name: str, describe: Describe) -> MessageType:
    """Build the tree of a type.

    Args:
        type_name: such as `sensor_msgs/msg/Imu`, or as `describe` names the types of fields.
        describe: returns the fields of a type; the same type name must give the same fields.
    """
    fields = {name: _node(kind, describe) for name, kind in describe(type_name).items()}
    # IDL does not allow an empty structure, so the middleware sends one byte instead.
    fields = fields or {"structure_needs_at_least_one_member": NUMBERS["uint8"]}
    nodes = fields.values()
    return MessageType(
        type_name, fields, all(n.fixed for n in nodes), all(n.readable for n in nodes)
    )


def _node(kind: str, describe: Describe) -> Node:
    if kind in NUMBERS:
        return NUMBERS[kind]
    if match := _STRING.match(kind):
        return Text(int(match["bound"]) if match["bound"] else None)
    if match := _SEQUENCE.match(kind):
        bound = int(match["bound"]) if match["bound"] else None
        return Items(_node(match["element"], describe), None, bound)
    if match := _ARRAY.match(kind):
        return Items(_node(match["element"], describe), int(match["count"]))
    return message_type(kind, describe) if "/" in kind else Unknown(kind)


class NoSuchField(Exception):
    """A path leads to no field. The text states what was expected at this place.

    Attributes:
        known: the names that exist at this place, for a suggestion.
    """

    def __init__(self, expected: str, known: tuple[str, ...] = ()) -> None:
        super().__init__(expected)
        self.known = known


def steps(path: str) -> list[tuple[str, int | None]]:
    """Split a path into names and indices: `motor_cmd[3].q` is [(motor_cmd, 3), (q, None)].

    Raises:
        NoSuchField: an index is not a whole number from 0 on.
    """
    found: list[tuple[str, int | None]] = []
    for part in path.split("."):
        match = _STEP.match(part)
        if match is None:
            raise NoSuchField(f"a field name with at most one index for '{part}'")
        index = match["index"]
        if index is not None and not (index.isascii() and index.isdigit()):
            raise NoSuchField(f"an index from 0 on in '{part}'")
        found.append((match["name"], None if index is None else int(index)))
    return found


def find_field(given: MessageType, path: str) -> Node:
    """The node at a path.

    Raises:
        NoSuchField: there is no such field, a field without elements has an index, an index is
            missing, or an index is beyond the end of an array.
    """
    node: Node = given
    for name, index in steps(path):
        if not isinstance(node, MessageType):
            raise NoSuchField(f"an element, such as [0], before '.{name}'")
        if name not in node.fields:
            known = tuple(node.fields)
            raise NoSuchField(f"one of {', '.join(known)} for '{name}'", known)
        node = node.fields[name]
        if index is None:
            continue
        if not isinstance(node, Items):
            raise NoSuchField(f"no index, since '{name}' is a single value")
        if node.most is not None and index >= node.most:
            raise NoSuchField(f"an index below {node.most}, the length of '{name}'")
        node = node.element
    return node


def numbers_within(node: Node, path: str) -> Iterator[str]:
    """Yield the paths of all numbers in a node of fixed size at `path`, in order.

    Raises:
        NoSuchField: a part of the node is a sequence or no number.
    """
    if isinstance(node, Number):
        yield path
    elif isinstance(node, MessageType):
        for name, part in node.fields.items():
            yield from numbers_within(part, f"{path}.{name}")
    elif isinstance(node, Items) and node.count is not None:
        for k in range(node.count):
            yield from numbers_within(node.element, f"{path}[{k}]")
    else:
        raise NoSuchField(f"numbers, which '{path}' is not")
