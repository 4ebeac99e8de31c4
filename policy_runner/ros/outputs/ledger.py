"""Which outputs a policy commands, and the last command of those that a reload leaves behind.

An output is what one number of one topic's message moves: a joint, an axis, or an element. Once
it was commanded it is owed a last command: a position stays where it is, all else is zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rclpy.publisher import Publisher

from policy_runner.core.model import Array
from policy_runner.ros.messages.serialized import SerializedCommand


class Output(NamedTuple):
    """What one number of a message moves. Two policies that have it in common share it."""

    topic: str
    message: str  # the message's class
    kind: str  # position | velocity | effort | twist | value
    name: str  # of the robot's joint, the axis, or the element


class OutputMessage(NamedTuple):
    """The message of one topic, and what its numbers move."""

    publisher: Publisher
    serialized: SerializedCommand
    places: npt.NDArray[np.intp]  # of its numbers among all numbers of the policy's command
    outputs: Sequence[Output]

    def send(self, values: Array, stamp_ns: int) -> None:
        """Publish.

        Args:
            values: all numbers of the policy's command, in the robot's sense.
            stamp_ns: on the node's clock.
        """
        self.publisher.publish(self.serialized.filled(values[self.places], stamp_ns))


class Leaving:
    """One message of a policy that was replaced, with outputs that the next one does not have.

    It is published once more, in the tick of the swap. What both policies have keeps moving as
    the next one commands it.
    """

    def __init__(
        self, message: OutputMessage, sent: Array, next_index: Mapping[Output, int], damped: bool
    ) -> None:
        """A message that is owed.

        Args:
            message: of the policy before.
            sent: the numbers that this policy sent last.
            next_index: where the next policy's command has each of its outputs.
            damped: positions end with stiffness 0, where the message carries gains.
        """
        self.publisher = message.publisher
        self._serialized = message.serialized
        self._values = sent[message.places]
        self._staying: list[tuple[int, int]] = []
        self._damped: list[int] = []
        for k, output in enumerate(message.outputs):
            if output in next_index:
                self._staying.append((k, next_index[output]))
            elif output.kind != "position":
                self._values[k] = 0.0
            elif damped:
                self._damped.append(k)

    def send(self, values: Array, stamp_ns: int) -> None:
        """Publish; `values` are all numbers of the next policy's command."""
        for k, there in self._staying:
            self._values[k] = values[there]
        if self._damped:
            self._serialized.damp(True, self._damped)
        self.publisher.publish(self._serialized.filled(self._values, stamp_ns))


def leaving(
    messages: Sequence[OutputMessage], sent: Array, after: Sequence[OutputMessage], damped: bool
) -> list[Leaving]:
    """The messages that are owed when the policy of `after` takes over; arguments as above."""
    next_index = {
        output: int(index)
        for message in after
        for index, output in zip(message.places, message.outputs, strict=True)
    }
    return [
        Leaving(message, sent, next_index, damped)
        for message in messages
        if any(output not in next_index for output in message.outputs)
    ]


def carry_over(
    messages: Sequence[OutputMessage], sent: Array, after: Sequence[OutputMessage], into: Array
) -> None:
    """Write what was sent last to the outputs that both policies have into the next one's."""
    known = {
        output: sent[index]
        for message in messages
        for index, output in zip(message.places, message.outputs, strict=True)
    }
    for message in after:
        for index, output in zip(message.places, message.outputs, strict=True):
            if output in known:
                into[index] = known[output]
