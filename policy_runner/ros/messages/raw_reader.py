"""Reads serialized messages into numpy: copies only the numbers that the policy reads.

The layout is read once for each shape of message (`core/inputs/cdr.py`) and reused while it fits.
Only images are built as message objects, after the layout has checked that every length in them
fits into the message. A refused message changes nothing in its input slot.
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

RawReader = Callable[[bytes], tuple[str, int]]  # returns (fault or '', header stamp [ns])
_Copy = tuple[npt.NDArray[np.float64], int, int, str]  # target, count, offset, dtype
_STAMP = {"<": struct.Struct("<iI"), ">": struct.Struct(">iI")}
_ATTITUDE_EVERY = 16  # check one message of so many, to spread the cost
UNKNOWN_PARTS = {  # sensor_msgs/Imu marks an unknown part with -1 in element 0 of its covariance
    "orientation": "no orientation (orientation_covariance[0] is -1)",
    "angular_velocity": "no angular velocity (angular_velocity_covariance[0] is -1)",
    "linear_acceleration": "no acceleration (linear_acceleration_covariance[0] is -1)",
}


def header_stamp_ns(raw: bytes) -> int:
    """Return the stamp [ns] of a serialized message that begins with a std_msgs/Header.

    Raises:
        Unreadable: the encapsulation is not plain CDR, or the message has too few bytes.
    """
    order = byte_order(raw)
    if len(raw) - raw[3] < 12:
        raise Unreadable(f"{len(raw)} bytes are too few for a stamp")
    seconds, rest = _STAMP[order].unpack_from(raw, 4)
    return int(seconds) * 1_000_000_000 + int(rest)


class CheckedDeserializer:
    """Deserializes messages of one type, after a check that every length fits into the message."""

    def __init__(self, message_class: Any, most_items: int = MOST_ITEMS) -> None:
        """Prepare for one type.

        Args:
            message_class: class of the messages.
            most_items: limit of strings and messages in a message's sequences, see `read_layout`.

        Raises:
            Unreadable: the type contains a field that cannot be checked, such as a wstring.
        """
        self._class = message_class
        self._name = type_name(message_class)
        self._most = most_items
        self._layout: Layout | None = None
        if not message_type(self._name, describe_message).readable:
            raise Unreadable(f"{self._name} holds what cannot be checked, such as a wstring")

    def __call__(self, raw: bytes) -> Any:
        """Deserialize one message.

        Raises:
            Unreadable: the bytes do not fit the type.
        """
        from rclpy.serialization import deserialize_message

        layout = self._layout
        if layout is None or not layout.fits(raw):
            self._layout = None
            self._layout = layout = read_layout(raw, self._name, describe_message, self._most)
        layout.check_flags(raw)
        try:
            return deserialize_message(raw, self._class)
        except Exception as error:  # rclpy itself refuses some values, such as the largest float32
            raise Unreadable(f"{self._name}: {type(error).__name__}: {error}") from error


@dataclass
class _Placed:
    """Places of a slot's values in messages of one layout."""

    layout: Layout
    fault: str = ""  # why some values are missing, or ''
    copies: list[_Copy] = field(default_factory=list)
    # (offset of a double that must not be -1, fault if it is)
    unknown: list[tuple[int, str]] = field(default_factory=list)
    sequences: list[tuple[SequenceKeeper, Place]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    joints: list[tuple[str, Place]] = field(default_factory=list)
    check_flags: bool = False


class SlotReader:
    """Reads raw messages of one input into its slot."""

    def __init__(self, slot: InputSlot, message_class: Any, most_items: int = MOST_ITEMS) -> None:
        """Prepare for one slot and one message type.

        Args:
            slot: gets the values; it lists the fields.
            message_class: class of the messages.
            most_items: limit of strings and messages in a message's sequences, see `read_layout`.

        Raises:
            Refusal: the type lacks a field that the policy reads, or the field is not a number.
        """
        self._slot = slot
        self._name = type_name(message_class)
        self._most = most_items
        fields: dict[str, str] = message_class.get_fields_and_field_types()
        self._has_header = next(iter(fields.values()), "") == "std_msgs/Header"
        self._runs = _checked_runs(slot, message_type(self._name, describe_message))
        bases = [run.path for runs in self._runs.values() for run in runs]
        # All booleans of a message are checked before the message is deserialized.
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
        """Write one message's numbers into the slot.

        Returns:
            Why the message is unusable, or ''; and its header stamp [ns], 0 without a header.
        """
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
        # Do all checks before the first write, so that a refused message changes nothing.
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
        """Find the places of the slot's values in messages of this shape.

        Raises:
            Unreadable: the message is damaged.
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
    """Passes every 16th message of an Imu to its `AttitudeCheck`."""

    def __init__(self, check: AttitudeCheck) -> None:
        self._check = check
        self._until = 0

    def take(self, raw: bytes, layout: Layout) -> None:
        """Take one message that was read without a fault."""
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
    """Return the copies that write a path's numbers; adjacent places become one copy.

    Args:
        target: array of the path.
        places: (first element in `target`, place in the message).
    """
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
    """Return the runs of numbers that each path of a slot stands for.

    Raises:
        Refusal: names every path that this type does not have.
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
