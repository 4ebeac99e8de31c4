"""Finds a joint that two publishers of joint_states send.

rclpy tells a message's publisher only from Kilted on. Before that, the sequence number of each
message does: the middleware counts each publisher's messages from 1 on, so that the messages of
two publishers are two interleaved sequences. ROS 2 Humble has neither; there, two lists of names
that share a joint count as two publishers.
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
_LONGEST_S = 20.0  # listening, after the publishers have changed
_MOST_GAP = 20  # messages lost between two of one publisher
_ENOUGH = 2  # times that a publisher's sequence is resumed; messages may overtake each other
_MOST_LISTS = 16
Names = tuple[str, ...]


class _Publishers:
    """Tells whether some messages came from several publishers.

    Each publisher's numbers are a sequence of their own. Two sequences that are both resumed
    again and again are two publishers. After a loss the old sequence is never resumed.
    """

    def __init__(self) -> None:
        self._newest: list[int] = []  # number of each sequence
        self._resumed: list[int] = []  # how often, after a message of another one
        self._last = -1  # index of the sequence that got the last message
        self._ids: set[str] = set()

    def add(self, mark: int | str | None) -> None:
        """Take one message's sequence number, or its publisher's id where that is known."""
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
            # The newest eight: a loss begins a new one each time.
            self._newest, self._resumed = [*self._newest[-7:], mark], [*self._resumed[-7:], 0]
            self._last = len(self._newest) - 1

    @property
    def several(self) -> bool:
        """Whether they were two or more."""
        return len(self._ids) > 1 or sum(count >= _ENOUGH for count in self._resumed) > 1


class JointSources:
    """Which joints two publishers send, from messages in the order in which they came."""

    def __init__(self) -> None:
        self._lists: dict[Names, _Publishers] = {}
        self._pairs: dict[frozenset[Names], _Publishers] = {}  # of lists that share a joint
        self._has_marks = False

    def add(self, names: Names, info: Mapping[str, Any]) -> None:
        """Take one message.

        Args:
            names: the joints in it.
            info: what rclpy's take gives with a message.
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
        """The joints that two publishers send, sorted."""
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
    """Listens to a topic next to the control thread for a while; polled by the executor."""

    def __init__(self, node: Node, topic: str) -> None:
        self._until_s = time.monotonic() + _LONGEST_S
        self._polled: PolledSubscription | None = PolledSubscription(
            node, JointState, topic, _QOS, overrides=False
        )
        self._sources = JointSources()
        self._layouts: list[tuple[Layout, Names]] = []

    def look(self) -> list[str]:
        """Take what has come; the joints that two publishers send, as far as is known."""
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
        """Stop listening; what was found stays."""
        if self._polled is not None:
            self._polled.destroy()
            self._polled = None
