"""Finds joints that two publishers of joint_states send.

From Kilted on, rclpy gives the publisher of each message. Before that, the sequence number
identifies it: the middleware counts each publisher's messages from 1, so two publishers give two
interleaved sequences. ROS 2 Humble has neither. There, two lists of names that share a joint
count as two publishers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState

from policy_runner.core.inputs.cdr import Layout, Unreadable, read_layout
from policy_runner.ros.inputs.polling import PolledSubscription
from policy_runner.ros.messages.types import describe_message

TYPE = "sensor_msgs/msg/JointState"
_QOS = QoSProfile(depth=500, reliability=ReliabilityPolicy.BEST_EFFORT)
_LONGEST_S = 20.0  # time of listening after the publishers have changed
_MOST_GAP = 20  # largest step between two sequence numbers of the same publisher
_ENOUGH = 2  # resumptions that prove a sequence; one alone may be a message out of order
_MOST_LISTS = 16
Names = tuple[str, ...]


class _Publishers:
    """Detects whether messages came from several publishers.

    Each publisher numbers its messages in its own sequence. Two sequences that are both resumed
    several times are two publishers. After a loss of messages the old sequence is never resumed.
    """

    def __init__(self) -> None:
        self._newest: list[int] = []  # newest number of each sequence
        self._resumed: list[int] = []  # how often each was resumed after another sequence
        self._last = -1  # index of the sequence that got the last message
        self._ids: set[str] = set()

    def add(self, mark: int | str | None) -> None:
        """Add one message: its sequence number, or its publisher's id if that is known."""
        if isinstance(mark, str):
            self._ids.add(mark)
            return
        if mark is None:
            return
        gaps = [(mark - last, k) for k, last in enumerate(self._newest)]
        near = [(gap, k) for gap, k in gaps if 0 < gap <= _MOST_GAP]
        if near:
            _, k = min(near)
            self._newest[k] = mark
            self._resumed[k] += k != self._last
            self._last = k
        else:
            # Keep the newest eight sequences: each loss of messages begins a new sequence.
            self._newest, self._resumed = [*self._newest[-7:], mark], [*self._resumed[-7:], 0]
            self._last = len(self._newest) - 1

    @property
    def several(self) -> bool:
        """Whether two or more publishers were found."""
        return len(self._ids) > 1 or sum(count >= _ENOUGH for count in self._resumed) > 1


class JointSources:
    """Finds the joints that two publishers send, from messages in the order of their arrival."""

    def __init__(self) -> None:
        self._lists: dict[Names, _Publishers] = {}
        self._pairs: dict[frozenset[Names], _Publishers] = {}  # two lists that share a joint
        self._has_marks = False

    def add(self, names: Names, info: Mapping[str, Any]) -> None:
        """Add one message.

        Args:
            names: joints in the message.
            info: message info that rclpy's take returns with the message.
        """
        publisher = info.get("publisher_gid")
        mark = info.get("publication_sequence_number") if publisher is None else str(publisher)
        self._has_marks = self._has_marks or mark is not None
        if names not in self._lists:
            if len(self._lists) >= _MOST_LISTS:
                return
            for others in self._lists:
                if set(names) & set(others):
                    self._pairs[frozenset((names, others))] = _Publishers()
            self._lists[names] = _Publishers()
        self._lists[names].add(mark)
        for pair, publishers in self._pairs.items():
            if names in pair:
                publishers.add(mark)

    def shared(self) -> list[str]:
        """Return the joints that two publishers send, sorted."""
        found: set[str] = set()
        for names, publishers in self._lists.items():
            if publishers.several:
                found |= set(names)
        for pair, publishers in self._pairs.items():
            if publishers.several or not self._has_marks:
                one, other = pair
                found |= set(one) & set(other)
        return sorted(found)


class JointListener:
    """Second subscription to a joint_states topic, for 20 s; the executor polls it."""

    def __init__(self, node: Node, topic: str) -> None:
        self._until_s = time.monotonic() + _LONGEST_S
        self._polled: PolledSubscription | None = PolledSubscription(
            node, JointState, topic, _QOS, overrides=False
        )
        self._sources = JointSources()
        self._layouts: list[tuple[Layout, Names]] = []

    def look(self) -> list[str]:
        """Take the waiting messages; return the joints found so far that two publishers send."""
        polled = self._polled
        if polled is None:
            return self._sources.shared()
        for _ in range(_QOS.depth):
            taken = polled.take_raw()
            if taken is None:
                break
            names = self._names(taken[0])
            if names:
                self._sources.add(names, taken[1])
        shared = self._sources.shared()
        if shared or time.monotonic() > self._until_s:
            self.close()
        return shared

    def _names(self, raw: bytes) -> Names:
        for layout, names in self._layouts:
            if layout.fits(raw):
                return names
        if len(raw) > 65536:
            return ()  # the input itself refuses it
        try:
            layout = read_layout(raw, TYPE, describe_message)
        except Unreadable:
            return ()
        names = tuple(layout.strings["name"])
        self._layouts = [(layout, names), *self._layouts[:7]]
        return names

    def close(self) -> None:
        """Stop listening; keep the findings."""
        if self._polled is not None:
            self._polled.destroy()
            self._polled = None
