"""Serialized messages to numpy: copies just the numbers the policy reads, builds no message.

The layout is read once per shape of message (`core/inputs/cdr.py`) and reused while it fits.
Only images are built as messages, after the layout has found every length inside of them. A
message that is refused has changed nothing of its input.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import Problem, Refusal, did_you_mean
from policy_runner.core.inputs.attitude import AttitudeCheck
from policy_runner.core.inputs.cdr import (
    MOST_ITEMS,
    Layout,
    Place,
    Unreadable,
    byte_order,
    read_layout,
)
from policy_runner.core.inputs.field_runs import Run, runs_of, wanted_elements
from policy_runner.core.inputs.message_types import (
    Items,
    MessageType,
    NoSuchField,
    Number,
    find_field,
    message_type,
)
from policy_runner.core.inputs.slot import InputSlot, SequenceKeeper
from policy_runner.ros.messages.types import describe_message, type_name

RawReader = Callable[[bytes], tuple[str, int]]  # (fault or '', header stamp [ns])
_Copy = tuple[npt.NDArray[np.float64], int, int, str]  # target, count, offset, dtype
_STAMP = {"<": struct.Struct("<iI"), ">": struct.Struct(">iI")}
_ATTITUDE_EVERY = 16  # messages: what it costs is spread over them
UNKNOWN_PARTS = {  # of an Imu: sensor_msgs/Imu marks each with -1 in its covariance's element 0
    "orientation": "no orientation (orientation_covariance[0] is -1)",
    "angular_velocity": "no angular velocity (angular_velocity_covariance[0] is -1)",
    "linear_acceleration": "no acceleration (linear_acceleration_covariance[0] is -1)",
}


def header_stamp_ns(raw: bytes) -> int:
    """Stamp of a serialized message that begins with a std_msgs/Header [ns].

    Raises:
        Unreadable: another encapsulation than plain CDR, or too few bytes.
    """
    order = byte_order(raw)
    if len(raw) - raw[3] < 12:
        raise Unreadable(f"{len(raw)} bytes are too few for a stamp")
    seconds, rest = _STAMP[order].unpack_from(raw, 4)
    return int(seconds) * 1_000_000_000 + int(rest)


class CheckedDeserializer:
    """Builds whole messages of one type, after every length in them was found inside of them."""

    def __init__(self, message_class: Any, most_items: int = MOST_ITEMS) -> None:
        """`most_items`: as in `read_layout`."""
        self._class = message_class
        self._name = type_name(message_class)
        self._most = most_items
        self._layout: Layout | None = None
        if not message_type(self._name, describe_message).readable:
            raise Unreadable(f"{self._name} holds what cannot be checked, such as a wstring")

    def __call__(self, raw: bytes) -> Any:
        """The message.

        Raises:
            Unreadable: the bytes are not what the type says.
        """
        from rclpy.serialization import deserialize_message

        layout = self._layout
        if layout is None or not layout.fits(raw):
            self._layout = None
            self._layout = layout = read_layout(raw, self._name, describe_message, self._most)
        layout.check_flags(raw)
        try:
            return deserialize_message(raw, self._class)
        except Exception as error:  # what rclpy itself refuses, such as the largest float32
            raise Unreadable(f"{self._name}: {type(error).__name__}: {error}") from error


@dataclass
class _Placed:
    """Where a slot's values are in messages of one layout; `fault`: why they are not all there."""

    layout: Layout
    fault: str = ""
    copies: list[_Copy] = field(default_factory=list)
    unknown: list[tuple[int, str]] = field(default_factory=list)  # doubles that must not be -1
    sequences: list[tuple[SequenceKeeper, Place]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    joints: list[tuple[str, Place]] = field(default_factory=list)
    check_flags: bool = False


class SlotReader:
    """Reads raw messages of one input into its slot.

    Raises:
        Refusal: the message type lacks a field that the policy reads, or it is no number.
    """

    def __init__(self, slot: InputSlot, message_class: Any, most_items: int = MOST_ITEMS) -> None:
        """`most_items`: strings and messages in sequences of one message, see `read_layout`."""
        self._slot = slot
        self._name = type_name(message_class)
        self._most = most_items
        fields: dict[str, str] = message_class.get_fields_and_field_types()
        self._has_header = next(iter(fields.values()), "") == "std_msgs/Header"
        self._runs = _checked_runs(slot, message_type(self._name, describe_message))
        bases = [run.path for runs in self._runs.values() for run in runs]
        # A message that is built needs all of its booleans checked.
        self._whole = slot.keepers.get("")
        self._wanted = None if self._whole is not None else wanted_elements(bases)
        self._build = CheckedDeserializer(message_class, most_items) if self._whole else None
        slot.stamped = self._has_header
        read = {path.split(".")[0].split("[")[0] for path in slot.paths}
        is_imu = slot.spec.type == "sensor_msgs/msg/Imu"
        self._must_be_known = [part for part in UNKNOWN_PARTS if is_imu and part in read]
        self._attitude = _AttitudeSamples(slot.attitude) if slot.attitude is not None else None
        self._placed: _Placed | None = None

    def __call__(self, raw: bytes) -> tuple[str, int]:
        """Write the message's numbers; returns why it is unusable, or '', and its stamp [ns]."""
        placed = self._placed
        if placed is None or not placed.layout.fits(raw):
            try:
                placed = self._placed = self._place(raw)
            except Unreadable as error:
                return f"a damaged message: {error}", 0
        stamp = header_stamp_ns(raw) if self._has_header else 0
        if placed.fault:
            return placed.fault, stamp
        fault = self._unusable(raw, placed)
        if fault:
            return fault, stamp
        # Everything that can be refused is refused before anything is written.
        message = self._build(raw) if self._build is not None else None
        sequences = [
            (keep, _numbers(raw, place).astype(np.float64)) for keep, place in placed.sequences
        ]
        if placed.joints:
            joints = self._slot.joints
            assert joints is not None
            values: dict[str, Any] = {kind: _numbers(raw, place) for kind, place in placed.joints}
            fault = joints.merge(placed.names, values, self._slot.arriving_ns)
            if fault:
                return fault, stamp
        for target, count, offset, dtype in placed.copies:
            target[:] = np.frombuffer(raw, dtype, count, offset)
        for keep, numbers in sequences:
            keep(numbers)
        if self._whole is not None:
            self._whole(message)
        if self._attitude is not None:
            self._attitude.take(raw, placed.layout)
        return "", stamp

    @staticmethod
    def _unusable(raw: bytes, placed: _Placed) -> str:
        if placed.check_flags:
            try:
                placed.layout.check_flags(raw)
            except Unreadable as error:
                return f"a damaged message: {error}"
        for offset, why in placed.unknown:
            if struct.unpack_from(placed.layout.order + "d", raw, offset)[0] == -1.0:
                return why
        return ""

    def _place(self, raw: bytes) -> _Placed:
        """Find where this shape of message has what the slot wants.

        Raises:
            Unreadable: a damaged message.
        """
        slot = self._slot
        layout = read_layout(raw, self._name, describe_message, self._most, self._wanted)
        placed = _Placed(layout)
        if slot.joints is not None:
            placed.names = layout.strings["name"]
            placed.joints = [(kind, layout.places[kind]) for kind in slot.joint_kinds]
        for part in self._must_be_known:
            covariance = layout.places[f"{part}_covariance"]
            placed.unknown.append((covariance.offset, UNKNOWN_PARTS[part]))
        for path, runs in self._runs.items():
            places = []
            for run in runs:
                place, fault = run.place_in(layout.places)
                if place is None:
                    placed.fault = placed.fault or fault
                    continue
                placed.check_flags |= place.dtype == "?"
                places.append((run.start, place))
            placed.copies += _copies(slot.arrays[path], places)
        for path, keep in slot.keepers.items():
            if isinstance(keep, SequenceKeeper):
                place = layout.places[path]
                if not place.count:
                    placed.fault = placed.fault or f"an empty sequence in {path}"
                placed.sequences.append((keep, place))
        return placed


class _AttitudeSamples:
    """Hands every so many messages of an Imu to its `AttitudeCheck`."""

    def __init__(self, check: AttitudeCheck) -> None:
        self._check = check
        self._until = 0

    def take(self, raw: bytes, layout: Layout) -> None:
        """One message, which was read well."""
        if self._until:
            self._until -= 1
            return
        self._until = _ATTITUDE_EVERY - 1
        numbers = []
        for part, count in (
            ("orientation", 4),
            ("angular_velocity", 3),
            ("linear_acceleration", 3),
        ):
            covariance, place = layout.places[f"{part}_covariance"], layout.places[f"{part}.x"]
            if struct.unpack_from(f"{layout.order}d", raw, covariance.offset)[0] == -1.0:
                return
            numbers.append(struct.unpack_from(f"{layout.order}{count}d", raw, place.offset))
        self._check.look(*numbers)


def _numbers(raw: bytes, place: Place) -> npt.NDArray[Any]:
    dtype = "u1" if place.dtype == "?" else place.dtype
    return np.frombuffer(raw, dtype, place.count, place.offset)


def _copies(target: npt.NDArray[np.float64], places: Sequence[tuple[int, Place]]) -> list[_Copy]:
    """Copies for a path's numbers, from element `start` on each; neighbours become one copy."""
    found: list[tuple[int, int, int, str]] = []  # start, count, offset, dtype
    for start, place in places:
        dtype = "u1" if place.dtype == "?" else place.dtype
        if found:
            first, count, offset, kind = found[-1]
            ends = (first + count, offset + count * np.dtype(kind).itemsize, kind)
            if ends == (start, place.offset, dtype):
                found[-1] = (first, count + place.count, offset, kind)
                continue
        found.append((start, place.count, place.offset, dtype))
    return [
        (target[first : first + count], count, offset, kind) for first, count, offset, kind in found
    ]


def _checked_runs(slot: InputSlot, tree: MessageType) -> dict[str, list[Run]]:
    """The stretches of numbers that each path of a slot stands for.

    Raises:
        Refusal: a path that this type has not, all of them.
    """
    found: dict[str, list[Run]] = {}
    problems: list[Problem | str] = []

    def refuse_path(path: str, error: NoSuchField) -> None:
        expected = f"a field of {slot.spec.type} ({', '.join(tree.fields)})"
        hints = (did_you_mean(part, error.known) for part in re.split(r"[.\[]", path))
        hint = next(filter(None, hints), "")
        got = f"'{path}', where it has {error}"
        problems.append(Problem("", f"inputs.{slot.name}", expected, got, hint))

    for path, leaves in slot.paths.items():
        try:
            found[path] = runs_of(path, leaves, tree)
        except NoSuchField as error:
            refuse_path(path, error)
    for path in slot.keepers:
        if not path and not tree.readable:
            expected = "a type without wstrings, since it is read as a whole"
            problems.append(Problem("", f"inputs.{slot.name}", expected, slot.spec.type))
        try:
            if path:
                _check_sequence(tree, path)
        except NoSuchField as error:
            refuse_path(path, error)
    if problems:
        raise Refusal(problems)
    return found


def _check_sequence(tree: MessageType, path: str) -> None:
    node = find_field(tree, path)
    if not (isinstance(node, Items) and isinstance(node.element, Number)):
        raise NoSuchField(f"a sequence of numbers, which '{path}' is not")
