"""A command message serialized once; a tick writes its numbers and stamp into the bytes.

Converting a JointState of 12 joints for every publish costs about as much as inferring a small
policy; writing 12 doubles into bytes that are already serialized costs next to nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from policy_runner.core.inputs.cdr import ENCAPSULATION, read_layout
from policy_runner.core.model import Array
from policy_runner.ros.messages.types import describe_message


class SerializedCommand:
    """The bytes of `message`; `paths` say where value k goes, such as `position[3]`.

    `stiffness` are the paths of gains that the message holds and that damping sets to 0.

    Raises:
        KeyError: a path that is no double of the message.
    """

    def __init__(
        self, message: Any, type_name: str, paths: Sequence[str], stiffness: Sequence[str] = ()
    ) -> None:
        from rclpy.serialization import serialize_message

        serialized = bytes(serialize_message(message))
        layout = read_layout(serialized, type_name, describe_message)
        self._raw = bytearray(serialized)
        index = []
        for path in (*paths, *stiffness):
            place, element = layout.places.get(path), "0"
            if place is None:  # `position[3]` is an element of `position`
                field, _, element = path.removesuffix("]").rpartition("[")
                place = layout.places[field]
            offset = place.offset + 8 * int(element)
            if place.dtype != "<f8":
                raise KeyError(path)
            index.append((offset - ENCAPSULATION) // 8)
        # Doubles are aligned to 8 behind the encapsulation, so all of them lie on one grid.
        whole = (len(serialized) - ENCAPSULATION) // 8
        self._doubles: Array = np.frombuffer(self._raw, "<f8", whole, ENCAPSULATION)
        self._index = np.array(index[: len(paths)], dtype=np.intp)
        self._stiffness = np.array(index[len(paths) :], dtype=np.intp)
        self._gains = self._doubles[self._stiffness]
        first = next(iter(describe_message(type_name).values()), "")
        self._stamped = first == "std_msgs/Header"
        self.type_name = type_name
        self.stamp_at = ENCAPSULATION if self._stamped else None

    def damp(self, damped: bool) -> None:
        """Stiffness 0 from now on, or again what the message came with."""
        self._doubles[self._stiffness] = 0.0 if damped else self._gains

    def filled(self, values: Array, stamp_ns: int) -> bytes:
        """The bytes to publish with these values, float64 [paths], and this stamp."""
        self._doubles[self._index] = values
        if self._stamped:
            seconds, rest = divmod(stamp_ns, 1_000_000_000)
            struct.pack_into("<iI", self._raw, ENCAPSULATION, seconds, rest)
        return bytes(self._raw)
