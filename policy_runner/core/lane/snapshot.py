"""Copies of the inputs at one moment, in memory that a thread or a process may share.

The control thread copies; nothing is decoded or allocated there. Numbers are copied with one call
per field. An image is copied as it was received, so a lane decodes and resizes it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from policy_runner.core.inputs.slot import InputSlot, MessageKeeper, SequenceKeeper
from policy_runner.core.model import Array

Memory = Any  # what `memoryview` accepts: a bytearray or a mapped file
_ALIGNED = 64
# Of an image: kind, height, width, row length, byte order; then its encoding as text.
_IMAGE = struct.Struct("<BIIIB200s")
_RAW, _COMPRESSED = 1, 2
_HEAD_BYTES = 256  # for `_IMAGE`, in front of the pixels


class Snapshot:
    """One copy of the inputs, at a place in a memory.

    Attributes:
        numbers: float64 [layout.numbers], all fields one after the other.
        heads: per kept value (a sequence or an image) its bytes and its number, int64 [2]. The
            bytes are -1 before the first one.
        values: per kept value its bytes, uint8 [most bytes].
    """

    def __init__(self, layout: SnapshotLayout, memory: Memory, start: int) -> None:
        self.numbers: Array = np.frombuffer(memory, np.float64, layout.numbers, start)
        self.heads: list[npt.NDArray[np.int64]] = []
        self.values: list[npt.NDArray[np.uint8]] = []
        at = start + _aligned(8 * layout.numbers)
        for most in layout.most_bytes:
            self.heads.append(np.frombuffer(memory, np.int64, 2, at))
            self.values.append(np.frombuffer(memory, np.uint8, most, at + _ALIGNED))
            at += _ALIGNED + _aligned(most)

    def copy_from(self, other: Snapshot) -> None:
        """Copy another snapshot of the same layout; of a value only the used bytes."""
        np.copyto(self.numbers, other.numbers)
        for head, value, given, bytes_ in zip(
            self.heads, self.values, other.heads, other.values, strict=True
        ):
            np.copyto(head, given)
            count = max(0, int(given[0]))
            value[:count] = bytes_[:count]


class SnapshotLayout:
    """Which values of the inputs a policy reads, and where a snapshot has them.

    Attributes:
        numbers: count of the numbers of a snapshot.
        most_bytes: per kept value, its largest size [bytes].
        size: of a snapshot [bytes].
        names: of all parts with their sizes. Two processes compare them.
    """

    def __init__(
        self, slots: Mapping[str, InputSlot], further: Mapping[str, Array], most_bytes: int
    ) -> None:
        """Find the values. Call this after all terms of the policy have been compiled.

        Args:
            slots: the inputs, by name.
            further: more arrays that belong to an observation, by name.
            most_bytes: largest size of a sequence or an image [bytes].
        """
        arrays: dict[str, Array] = {}
        self._kept: list[SequenceKeeper | MessageKeeper] = []
        names = []
        for name, slot in slots.items():
            for path, array in slot.arrays.items():
                arrays[f"{name}/{path}"] = array
            if slot.text is not None:
                arrays |= {f"{name}/{part}": array for part, array in slot.text.arrays.items()}
            if slot.joints is not None:
                for kind in slot.joint_kinds:
                    arrays[f"{name}/{kind}"] = slot.joints.values[kind]
            for path, keeper in slot.keepers.items():
                assert isinstance(keeper, (SequenceKeeper, MessageKeeper))
                self._kept.append(keeper)
                names.append(f"{name}/{path or 'message'}")
        arrays.update(further)
        self._arrays = list(arrays.values())
        self._counts = [0] * len(self._kept)  # of the newest values, for `give`
        self.numbers = sum(array.size for array in self._arrays)
        self.names = [f"{name}[{array.size}]" for name, array in arrays.items()] + names
        self.most_bytes = [_HEAD_BYTES + most_bytes] * len(self._kept)
        self.size = _aligned(8 * self.numbers) + sum(
            _ALIGNED + _aligned(most) for most in self.most_bytes
        )

    def take(self, into: Snapshot) -> None:
        """Copy the inputs of now; the control thread calls this."""
        at = 0
        for array in self._arrays:
            into.numbers[at : at + array.size] = array
            at += array.size
        for keeper, head, value in zip(self._kept, into.heads, into.values, strict=True):
            if isinstance(keeper, SequenceKeeper):
                _take_sequence(keeper, head, value)
            else:
                _take_message(keeper, head, value)

    def give(self, given: Snapshot) -> None:
        """Copy a snapshot into the inputs of a worker."""
        at = 0
        for array in self._arrays:
            np.copyto(array, given.numbers[at : at + array.size])
            at += array.size
        for keeper, head, value in zip(self._kept, given.heads, given.values, strict=True):
            count = int(head[0])
            if isinstance(keeper, SequenceKeeper):
                keeper.values = None if count < 0 else value[:count].view(np.float64).copy()
            else:
                _give_message(keeper, int(head[1]), value[: max(0, count)])


def _take_sequence(
    keeper: SequenceKeeper, head: npt.NDArray[np.int64], value: npt.NDArray[np.uint8]
) -> None:
    numbers = keeper.values
    count = -1 if numbers is None else numbers.nbytes
    if numbers is None or count > value.size:
        head[0] = -1
        return
    value[:count] = numbers.view(np.uint8)
    head[0] = count


def _take_message(
    keeper: MessageKeeper, head: npt.NDArray[np.int64], value: npt.NDArray[np.uint8]
) -> None:
    message = keeper.message
    if message is None:
        head[:] = -1, keeper.count
        return
    pixels = np.frombuffer(message.data, np.uint8)
    if _HEAD_BYTES + pixels.size > value.size:
        head[:] = -1, keeper.count
        return
    if hasattr(message, "encoding"):
        fields = (_RAW, message.height, message.width, message.step, bool(message.is_bigendian),
                  message.encoding.encode()[:200])  # fmt: skip
    else:
        fields = (_COMPRESSED, 0, 0, 0, False, message.format.encode()[:200])
    value[: _IMAGE.size] = np.frombuffer(_IMAGE.pack(*fields), np.uint8)
    value[_HEAD_BYTES : _HEAD_BYTES + pixels.size] = pixels
    head[:] = _HEAD_BYTES + pixels.size, keeper.count


def _give_message(keeper: MessageKeeper, number: int, value: npt.NDArray[np.uint8]) -> None:
    """Set the message; its pixels stay where they are. The same number is the same message."""
    if number == keeper.count and keeper.message is not None and value.size:
        return  # the term has decoded it
    keeper.count = number
    if not value.size:
        keeper.message = None
        return
    kind, height, width, step, is_bigendian, text = _IMAGE.unpack_from(value.data)
    words = text.rstrip(b"\0").decode(errors="replace")
    pixels = value[_HEAD_BYTES:]
    keeper.message = (
        SimpleNamespace(height=height, width=width, step=step, is_bigendian=is_bigendian,
                        encoding=words, data=pixels)
        if kind == _RAW
        else SimpleNamespace(format=words, data=pixels)
    )  # fmt: skip


def place_all(layout: SnapshotLayout, memory: Memory, start: int, count: int) -> Sequence[Snapshot]:
    """Bind `count` snapshots of a layout, one after the other, from the byte `start` on."""
    return [Snapshot(layout, memory, start + k * layout.size) for k in range(count)]


def _aligned(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED
