"""A command message that is serialized once; each tick writes numbers and stamp into the bytes.

Serializing a JointState of 12 joints for every publish costs about as much as one inference of a
small policy. Writing 12 doubles into serialized bytes costs almost nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from policy_runner.core.inputs.cdr import ENCAPSULATION, read_layout
from policy_runner.core.model import Array, cast_range
from policy_runner.ros.messages.types import describe_message

_SECONDS = (-(2**31), 2**31 - 1)  # range of builtin_interfaces/Time: the years 1901 to 2038


def stamp_parts(stamp_ns: int) -> tuple[int, int]:
    """Return the seconds and nanoseconds of a stamp, for builtin_interfaces/Time.

    A time outside the type's range is clipped to it: no stamp may prevent a stop.
    """
    seconds, rest = divmod(stamp_ns, 1_000_000_000)
    low, high = _SECONDS
    return min(max(seconds, low), high), rest


class _Numbers(NamedTuple):
    """The numbers of one type: their places in the bytes and the values written there."""

    view: npt.NDArray[Any]  # all bytes, as numbers of this type
    at: npt.NDArray[np.intp]  # indices in the view; twice as fast as a slice
    which: npt.NDArray[np.intp] | None  # indices of the values; None: all, in their order
    whole: bool  # the type is an integer: round the values


class SerializedCommand:
    """The serialized bytes of one command message, into which each tick writes its values.

    Attributes:
        low: the smallest number that each path's type can hold, float64 [paths].
        high: the largest number that each path's type can hold, float64 [paths].
    """

    def __init__(
        self,
        message: Any,
        type_name: str,
        paths: Sequence[str],
        stiffness: Sequence[str] = (),
        stamped: bool = True,
    ) -> None:
        """Serialize the message.

        Args:
            message: holds everything that never changes.
            type_name: of the message.
            paths: the field of each value, such as `position[3]`.
            stiffness: the field of each value's stiffness, which `damp` sets to 0; "" for a value
                without one. Empty: no value has one.
            stamped: write a stamp if the message begins with a header.

        Raises:
            KeyError: a path is not a number of the message.
        """
        from rclpy.serialization import serialize_message

        serialized = bytes(serialize_message(message))
        layout = read_layout(serialized, type_name, describe_message)
        self._raw = bytearray(serialized)
        self._views: dict[str, npt.NDArray[Any]] = {}

        def find(path: str) -> tuple[str, int]:
            place, element = layout.places.get(path), 0
            if place is None:  # `position[3]` is an element of `position`
                field, _, inside = path.removesuffix("]").rpartition("[")
                place, element = layout.places[field], int(inside)
            if place.dtype in ("?", "B") or not 0 <= element < place.count:
                raise KeyError(path)
            offset = place.offset - ENCAPSULATION
            return place.dtype, offset // np.dtype(place.dtype).itemsize + element

        found = [find(path) for path in paths]
        ranges = [cast_range(kind) for kind, _ in found]
        self.low: Array = np.array([low for low, _ in ranges])
        self.high: Array = np.array([high for _, high in ranges])
        self._numbers: list[_Numbers] = []
        kinds = list(dict.fromkeys(kind for kind, _ in found))
        for kind in kinds:
            which = [k for k, (other, _) in enumerate(found) if other == kind]
            at = np.array([found[k][1] for k in which], dtype=np.intp)
            chosen = None if len(kinds) == 1 else np.array(which, dtype=np.intp)
            whole = np.dtype(kind).kind in "iu"
            self._numbers.append(_Numbers(self._view(kind), at, chosen, whole))
        # For each value: the view and index of its stiffness, and the stiffness itself.
        self._gains: dict[int, tuple[npt.NDArray[Any], int, Any]] = {}
        for k, path in enumerate(stiffness):
            if path:
                kind, index = find(path)
                view = self._view(kind)
                self._gains[k] = (view, index, view[index])
        first = next(iter(describe_message(type_name).values()), "")
        self._stamped = stamped and first == "std_msgs/Header"
        self.type_name = type_name
        self.stamp_at = ENCAPSULATION if self._stamped else None  # place of the stamp; None: none

    def _view(self, kind: str) -> npt.NDArray[Any]:
        # CDR aligns each number to its size after the encapsulation, so one view reaches them all.
        if kind not in self._views:
            count = (len(self._raw) - ENCAPSULATION) // np.dtype(kind).itemsize
            self._views[kind] = np.frombuffer(self._raw, kind, count, ENCAPSULATION)
        return self._views[kind]

    def damp(self, damped: bool, which: Sequence[int] | None = None) -> None:
        """Set the stiffness to 0, or back to the message's original stiffness.

        Args:
            damped: True: 0; False: the original stiffness.
            which: indices of the values; None: all values.
        """
        for k, (view, index, gain) in self._gains.items():
            if which is None or k in which:
                view[index] = 0 if damped else gain

    def filled(self, values: Array, stamp_ns: int) -> bytes:
        """Return the bytes to publish.

        Args:
            values: float64 [paths], within `low` and `high`. Rounded for integer fields.
            stamp_ns: stamp of the header [ns].
        """
        for view, at, which, whole in self._numbers:
            chosen = values if which is None else values[which]
            view[at] = np.rint(chosen) if whole else chosen
        if self._stamped:
            seconds, rest = divmod(stamp_ns, 1_000_000_000)
            if not -0x80000000 <= seconds <= 0x7FFFFFFF:
                seconds, rest = stamp_parts(stamp_ns)
            struct.pack_into("<iI", self._raw, ENCAPSULATION, seconds, rest)
        return bytes(self._raw)
