"""Tracks the outputs of a policy and the last commands that a reload owes to some of them.

An output is the joint, axis or element that one number of a topic's message moves. A reload may
remove an output that was commanded. That output is owed a last command: a position stays where it
is, everything else is zero.
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
    """The target of one number of a message; equal outputs of two policies are the same output."""

    topic: str
    message: str  # the message's class
    kind: str  # position | velocity | effort | twist | value
    name: str  # name of the robot's joint, the axis, or the element


class OutputMessage(NamedTuple):
    """The message of one topic and its outputs."""

    publisher: Publisher
    serialized: SerializedCommand
    places: npt.NDArray[np.intp]  # indices of its numbers in all numbers of the policy's command
    outputs: Sequence[Output]

    def send(self, values: Array, stamp_ns: int) -> None:
        """Publish this message.

        Args:
            values: all numbers of the policy's command, with the robot's signs and offsets.
            stamp_ns: time on the node's clock [ns].
        """
        self.publisher.publish(self.serialized.filled(values[self.places], stamp_ns))


class Leaving:
    """One message of a replaced policy, with outputs that the next policy does not have.

    It is published once more, in the tick of the swap. Outputs that both policies have follow the
    next policy's command.
    """

    def __init__(
        self, message: OutputMessage, sent: Array, next_index: Mapping[Output, int], damped: bool
    ) -> None:
        """Prepare the last command.

        Args:
            message: message of the replaced policy.
            sent: the numbers that the replaced policy sent last.
            next_index: output -> index in the next policy's command.
            damped: end positions with stiffness 0, if the message carries gains.
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
        """Publish the last command; `values` are all numbers of the next policy's command."""
        for k, there in self._staying:
            self._values[k] = values[there]
        if self._damped:
            self._serialized.damp(True, self._damped)
        self.publisher.publish(self._serialized.filled(self._values, stamp_ns))


def leaving(
    messages: Sequence[OutputMessage], sent: Array, after: Sequence[OutputMessage], damped: bool
) -> list[Leaving]:
    """Return the messages that are owed when the next policy takes over.

    Args:
        messages: messages of the replaced policy.
        sent: the numbers that the replaced policy sent last.
        after: messages of the next policy.
        damped: end positions with stiffness 0, if their message carries gains.
    """
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
    """Copy the last sent numbers of the outputs that both policies have.

    Args:
        messages: messages of the replaced policy.
        sent: the numbers that the replaced policy sent last.
        after: messages of the next policy.
        into: the next policy's numbers; changed in place.
    """
    known = {
        output: sent[index]
        for message in messages
        for index, output in zip(message.places, message.outputs, strict=True)
    }
    for message in after:
        for index, output in zip(message.places, message.outputs, strict=True):
            if output in known:
                into[index] = known[output]
