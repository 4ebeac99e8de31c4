"""A command message serialized once; a tick writes its numbers and stamp into the bytes.

Converting a JointState of 12 joints for every publish costs about as much as inferring a small
policy; writing 12 doubles into bytes that are already serialized costs next to nothing.
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

_SECONDS = (-(2**31), 2**31 - 1)  # that builtin_interfaces/Time holds: 1901 to 2038


def stamp_parts(stamp_ns: int) -> tuple[int, int]:
    """Seconds and nanoseconds of a stamp, for builtin_interfaces/Time.

    A time that does not fit becomes the nearest one that does: no stamp may prevent a stop.
    """
    seconds, rest = divmod(stamp_ns, 1_000_000_000)
    low, high = _SECONDS
    return min(max(seconds, low), high), rest


class _Numbers(NamedTuple):
    """The numbers of one type: where they lie in the bytes, and which values they are."""

    view: npt.NDArray[Any]  # of all bytes, as numbers of this type
    at: npt.NDArray[np.intp]  # in the view; twice as fast as a slice
    which: npt.NDArray[np.intp] | None  # of the values; None: all, in their order
    whole: bool  # integers: values are rounded


class SerializedCommand:
    """The bytes of `message`; `paths` say where value k goes, such as `position[3]`.

    Attributes:
        low: the least number that each path's type holds, float64 [paths].
        high: the largest one.

    Raises:
        KeyError: a path that is no number of the message.
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
            paths: where the values go.
            stiffness: where each value's gain is that damping sets to 0, "" where there is none;
                empty: nowhere.
            stamped: write a stamp where the message begins with a header.
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
        # Per value: the view and index of its gain, and what the gain is.
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
        # Numbers are aligned to their size behind the encapsulation, so all lie on one grid.
        if kind not in self._views:
            count = (len(self._raw) - ENCAPSULATION) // np.dtype(kind).itemsize
            self._views[kind] = np.frombuffer(self._raw, kind, count, ENCAPSULATION)
        return self._views[kind]

    def damp(self, damped: bool, which: Sequence[int] | None = None) -> None:
        """Stiffness 0 from now on, or again what the message came with.

        Args:
            damped: 0 or not.
            which: of which values; None: of all.
        """
        for k, (view, index, gain) in self._gains.items():
            if which is None or k in which:
                view[index] = 0 if damped else gain

    def filled(self, values: Array, stamp_ns: int) -> bytes:
        """The bytes to publish with these values, float64 [paths], and this stamp.

        The values must be within `low` and `high`. Integers get the nearest one.
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
