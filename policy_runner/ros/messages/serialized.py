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

from policy_runner.core.inputs.cdr import ENCAPSULATION, Layout, read_layout
from policy_runner.core.inputs.message_types import MessageType, find_field, message_type
from policy_runner.core.model import Array, cast_range
from policy_runner.ros.messages.types import describe_message

_MOST_ITEMS = 10_000  # strings and messages in the sequences of a command
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


class _Yaws(NamedTuple):
    """Quaternions that get a yaw: z is sin(yaw / 2), w is cos(yaw / 2); x and y stay 0."""

    view: npt.NDArray[np.float64]
    z: npt.NDArray[np.intp]
    w: npt.NDArray[np.intp]
    which: npt.NDArray[np.intp]  # indices of the values

    def write(self, values: Array) -> None:
        half = 0.5 * values[self.which]
        self.view[self.z] = np.sin(half)
        self.view[self.w] = np.cos(half)


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
            paths: the field of each value, such as `position[3]`. A quaternion has a field `yaw`
                [rad] too, which writes its z and w; its x and y must be 0 in the message.
            stiffness: the field of each value's stiffness, which `damp` sets to 0; "" for a value
                without one. Empty: no value has one.
            stamped: write the stamp of every header of the message.

        Raises:
            KeyError: a path is not a number of the message.
        """
        from rclpy.serialization import serialize_message

        serialized = bytes(serialize_message(message))
        layout = read_layout(serialized, type_name, describe_message, _MOST_ITEMS)
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

        tree = message_type(type_name, describe_message)
        yaws = {k: path[:-3] for k, path in enumerate(paths) if _is_yaw(path, tree)}
        found = [find(yaws[k] + "z" if k in yaws else path) for k, path in enumerate(paths)]
        ranges = [cast_range(kind) for kind, _ in found]
        self.low: Array = np.array([low for low, _ in ranges])
        self.high: Array = np.array([high for _, high in ranges])
        self._numbers: list[_Numbers] = []
        kinds = list(dict.fromkeys(kind for kind, _ in found))
        for kind in kinds:
            which = [k for k, (other, _) in enumerate(found) if other == kind and k not in yaws]
            at = np.array([found[k][1] for k in which], dtype=np.intp)
            chosen = None if len(which) == len(found) else np.array(which, dtype=np.intp)
            whole = np.dtype(kind).kind in "iu"
            if which:
                self._numbers.append(_Numbers(self._view(kind), at, chosen, whole))
        self._yaws: list[_Yaws] = []
        if yaws:
            view = self._view(found[next(iter(yaws))][0])
            z, w = ([find(yaw + part)[1] for yaw in yaws.values()] for part in "zw")
            self._yaws.append(_Yaws(view, np.array(z), np.array(w), np.array(list(yaws))))
        # For each value: the view and index of its stiffness, and the stiffness itself.
        self._gains: dict[int, tuple[npt.NDArray[Any], int, Any]] = {}
        for k, path in enumerate(stiffness):
            if path:
                kind, index = find(path)
                view = self._view(kind)
                self._gains[k] = (view, index, view[index])
        self.type_name = type_name
        # Places of the stamps [bytes]: of the message's own header, and of those inside it.
        self.stamps_at = _stamps(layout, tree) if stamped else ()

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
        for yaws in self._yaws:
            yaws.write(values)
        if self.stamps_at:
            seconds, rest = divmod(stamp_ns, 1_000_000_000)
            if not -0x80000000 <= seconds <= 0x7FFFFFFF:
                seconds, rest = stamp_parts(stamp_ns)
            for place in self.stamps_at:
                struct.pack_into("<iI", self._raw, place, seconds, rest)
        return bytes(self._raw)


def _is_yaw(path: str, tree: MessageType) -> bool:
    owner, _, name = path.rpartition(".")
    return name == "yaw" and type_at(owner, tree) == "geometry_msgs/Quaternion"


def _stamps(layout: Layout, tree: MessageType) -> tuple[int, ...]:
    return tuple(
        place.offset
        for path, place in layout.places.items()
        if path.endswith(".stamp.sec")
        and type_at(path.removesuffix(".stamp.sec"), tree) == "std_msgs/Header"
    )


def type_at(path: str, tree: MessageType) -> str:
    """Return the name of the message at a path, such as `geometry_msgs/Point`; "": no message."""
    if not path:
        return ""
    node = find_field(tree, path)
    return node.name if isinstance(node, MessageType) else ""
