"""Serialized messages to numpy: copies just the numbers the policy reads, builds no message.

The layout is read once per shape of message (`core.cdr`) and reused while it fits. What the
layout cannot place (images, fields behind a sequence of unknown size) is read from the
deserialized message instead, by `message_readers`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from policy_runner.core.inputs.cdr import Layout, Place, Unreadable, read_layout
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.ros.messages.message_reader import build_reader, stamp_ns
from policy_runner.ros.messages.types import describe_message

RawReader = Callable[[bytes], tuple[str, int]]  # (fault or '', header stamp [ns])
_ELEMENT = re.compile(r"^(?P<path>[\w.]+)\[(?P<index>\d+)\]$")
_Copy = tuple[npt.NDArray[np.float64], int, int, str]  # target, count, offset, dtype


def header_stamp_ns(raw: bytes) -> int:
    """Stamp of a serialized message that begins with a std_msgs/Header [ns]."""
    seconds, rest = struct.unpack_from("<iI", raw, 4)
    return int(seconds) * 1_000_000_000 + int(rest)


class SlotReader:
    """Reads raw messages of one input into its slot.

    Raises:
        Refusal: the message type lacks a field that the policy reads.
    """

    def __init__(self, slot: InputSlot, message_type: Any) -> None:
        self._slot = slot
        self._type = message_type
        self._read_message = build_reader(slot, message_type)
        fields: dict[str, str] = message_type.get_fields_and_field_types()
        self._has_header = next(iter(fields.values()), "") == "std_msgs/Header"
        slot.stamped = self._has_header
        self._wants_orientation = slot.spec.type == "sensor_msgs/msg/Imu" and any(
            path.split(".")[0] == "orientation" for path in slot.paths
        )
        self._layout: Layout | None = None
        self._copies: list[_Copy] = []
        self._checks: list[tuple[int, str]] = []  # offset of a double that must not be -1
        self._names: list[str] = []
        self._joints: list[tuple[str, Place]] = []
        self._fault = ""
        self._by_message = bool(slot.keepers)

    def __call__(self, raw: bytes) -> tuple[str, int]:
        """Write the message's numbers; returns why it is unusable, or '', and its stamp [ns]."""
        if self._by_message:
            return self._deserialized(raw)
        layout = self._layout
        if layout is None or not layout.fits(raw):
            try:
                self._place(raw)
            except KeyError:
                return self._deserialized(raw)
            except Unreadable as error:
                if raw[:2] != b"\x00\x01":  # another encapsulation, which the middleware may know
                    return self._deserialized(raw)
                return f"a damaged message: {error}", 0
        stamp = 0
        if self._has_header:
            stamp = header_stamp_ns(raw)
        if self._fault:
            return self._fault, stamp
        for offset, fault in self._checks:
            if struct.unpack_from("<d", raw, offset)[0] == -1.0:
                return fault, stamp
        for target, count, offset, dtype in self._copies:
            target[:] = np.frombuffer(raw, dtype, count, offset)
        if self._joints:
            joints = self._slot.joints
            assert joints is not None
            values: dict[str, Any] = {
                kind: np.frombuffer(raw, place.dtype, place.count, place.offset)
                for kind, place in self._joints
            }
            return joints.merge(self._names, values, self._slot.arriving_ns), stamp
        return "", stamp

    def _deserialized(self, raw: bytes) -> tuple[str, int]:
        from rclpy.serialization import deserialize_message

        message = deserialize_message(raw, self._type)
        return self._read_message(message), stamp_ns(message)

    def _place(self, raw: bytes) -> None:
        """Find where this shape of message has what the slot wants.

        Raises:
            KeyError: a field is not where a layout can tell.
        """
        self._layout = None
        layout = read_layout(raw, self._slot.spec.type, describe_message)
        self._fault = ""
        self._copies, self._joints, self._checks = [], [], []
        if self._slot.joints is not None:
            self._names = layout.strings["name"]
            self._joints = [(kind, layout.places[kind]) for kind in self._slot.joint_kinds]
        if self._wants_orientation:
            covariance = layout.places["orientation_covariance"]
            fault = "no orientation (orientation_covariance[0] is -1)"
            self._checks.append((covariance.offset, fault))
        for path, leaves in self._slot.paths.items():
            self._copies += self._locate(self._slot.arrays[path], leaves, layout)
        self._layout = layout

    def _locate(
        self, target: npt.NDArray[np.float64], leaves: tuple[str, ...], layout: Layout
    ) -> list[_Copy]:
        """Copies for a path's leaves; neighbours in the message become one copy."""
        copies: list[_Copy] = []
        for k, leaf in enumerate(leaves):
            match = _ELEMENT.match(leaf)
            if match and leaf not in layout.places:
                place = layout.places[match["path"]]
                index = int(match["index"])
                if index >= place.count:
                    self._fault = f"{place.count} elements in {match['path']}, more are needed"
                    return []
            else:
                place, index = layout.places[leaf], 0
            width = np.dtype(place.dtype).itemsize
            offset = place.offset + index * width
            if copies:
                _, count, start, dtype = copies[-1]
                if dtype == place.dtype and offset == start + count * width:
                    grown = target[k - count : k + 1]
                    copies[-1] = (grown, count + 1, start, dtype)
                    continue
            copies.append((target[k : k + 1], 1, offset, place.dtype))
        return copies
