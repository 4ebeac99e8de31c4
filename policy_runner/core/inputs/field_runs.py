"""Resolve field paths of an input to runs of numbers, checked against the message type.

This happens once, during configure. For a message, only its number of elements is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from policy_runner.core.inputs.cdr import Place
from policy_runner.core.inputs.message_fields import runs
from policy_runner.core.inputs.message_types import (
    Items,
    MessageType,
    Node,
    NoSuchField,
    Number,
    find_field,
    numbers_within,
    steps,
)


@dataclass(frozen=True)
class Run:
    """Consecutive numbers of a message: `count` numbers at `path`.

    They fill the slot's array from element `start` on.
    first: index of the first number, if `path` is an array or a sequence; None: a single number.
    exact: the whole field was requested, so it must have exactly this length.
    """

    path: str
    first: int | None
    count: int
    start: int
    exact: bool = False

    def wrong_length(self, length: int) -> str:
        """Why an array of this length does not fit; '' if it fits."""
        first, last = self.first or 0, (self.first or 0) + self.count
        if length < last:
            return f"{length} elements in {self.path}, {last} needed"
        if self.exact and length != last:
            slice_ = f"{self.path}[{first}:{last}]"
            return f"{length} elements in {self.path}, {last} expected (or the slice {slice_})"
        return ""

    def place_in(self, places: Mapping[str, Place]) -> tuple[Place | None, str]:
        """The place of the numbers in a message and '', or None and why they are missing.

        Args:
            places: the message's `Layout.places`.
        """
        place = places.get(self.path)
        if place is None:
            return None, f"no {self.path} in a message with fewer elements"
        if self.first is None:
            return place, ""
        fault = self.wrong_length(place.count)
        if fault:
            return None, fault
        width = int(place.dtype[-1]) if place.dtype != "?" else 1
        return Place(place.offset + self.first * width, self.count, place.dtype), ""


def runs_of(path: str, leaves: tuple[str, ...], tree: MessageType) -> list[Run]:
    """The runs of numbers for a slot's path.

    Args:
        path: as the policy's terms name it.
        leaves: the result of `message_fields.leaves` for it. For a type that is not known there,
            the leaves are the path itself, or elements of it. If the path turns out to be a
            message here, such as a Quaternion, it must have exactly as many numbers.
        tree: the message type.

    Raises:
        NoSuchField: the type has no such numbers.
    """
    found: list[Run] = []
    start = 0
    for base, first, count in runs(leaves):
        node = find_field(tree, base)
        _check_before(tree, base)
        if isinstance(node, MessageType) or (isinstance(node, Items) and node.element.fixed
                                             and not isinstance(node.element, Number)):  # fmt: skip
            names = list(numbers_within(node, base))
            if first not in (0, None) or count != len(names):
                raise NoSuchField(f"{len(names)} numbers, as many as '{base}' has")
            found += [Run(name, None, 1, start + k) for k, name in enumerate(names)]
        else:
            found.append(_run(base, first, count, start, base == path, node))
        start += count
    return found


def _run(base: str, first: int | None, count: int, start: int, whole: bool, node: Node) -> Run:
    if isinstance(node, Number):
        if first is not None:
            raise NoSuchField(f"1 number, since '{base}' is a single value")
        return Run(base, None, 1, start)
    if not isinstance(node, Items) or not isinstance(node.element, Number):
        raise NoSuchField(f"numbers, which '{base}' is not")
    index = first or 0
    if node.most is not None and index + count > node.most:
        raise NoSuchField(f"an index below {node.most}, the length of '{base}'")
    if whole and node.count is not None and count != node.count:
        raise NoSuchField(f"{node.count} numbers, as many as '{base}' has")
    return Run(base, index, count, start, whole)


def _check_before(tree: MessageType, path: str) -> None:
    """Check that every field before `path` is readable; otherwise its position is unknown."""
    node: Node = tree
    for name, index in steps(path):
        assert isinstance(node, MessageType)
        for other, part in node.fields.items():
            if other == name:
                break
            if not part.readable:
                raise NoSuchField(f"a field in front of '{other}', which cannot be read")
        node = node.fields[name]
        if index is not None and isinstance(node, Items):
            node = node.element
    if not node.readable:
        raise NoSuchField(f"numbers, which '{path}' is not")


def wanted_elements(paths: Iterable[str]) -> dict[str, int]:
    """Per array of messages on these paths: how many of its first elements they need."""
    wanted: dict[str, int] = {}
    for path in paths:
        prefix = ""
        for name, index in steps(path):
            prefix = f"{prefix}.{name}" if prefix else name
            if index is not None:
                wanted[prefix] = max(wanted.get(prefix, 0), index + 1)
                prefix = f"{prefix}[{index}]"
    return wanted
