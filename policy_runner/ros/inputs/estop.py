"""Topics of the emergency stop. The control thread takes their messages, without an executor.

Every press counts: the queues are deep, and a queue that may have lost messages counts as a
press. A `false` may release a press only while its topic has exactly one publisher.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Bool

from policy_runner.core.safety.operator_requests import EstopSource, Operator
from policy_runner.ros.inputs.graph import publishers_of, unheard_publishers
from policy_runner.ros.inputs.polling import PolledSubscription

_TYPE = "std_msgs/msg/Bool"
# Enough for 3 kHz during 0.67 s. A depth of 10 lost 11 of 20 presses while another node published
# `false` at 1 kHz.
DEPTH = 2000
_AT_ONCE = 64  # messages between two readings of the clock, about 0.2 ms
# A drain may last a quarter of the time since the last drain, because the messages of that time
# wait in the queue. It may always last this long.
_LONGEST_NS = 1_000_000
DEFAULT_TOPICS = ("~/estop",)


class EstopInput:
    """Passes the emergency stop's messages to an `Operator`.

    The subscriptions are reliable, and each topic has its own latch. A node keeps one
    `EstopInput` for its whole life. While the node is not active, the executor drains it instead
    of the control thread, so that no press is missed.
    """

    def __init__(self, node: Node, topics: Sequence[str] = DEFAULT_TOPICS) -> None:
        """Subscribe to the topics; if no name is valid, to `DEFAULT_TOPICS`.

        Args:
            node: creates the subscriptions.
            topics: names of the parameter `estop.topics`; an invalid name becomes a problem.
        """
        self.problems: list[str] = []  # errors in the parameter `estop.topics`
        # False while simulation time is paused: then lost messages are no sign of a press.
        self.loss_is_press = True
        self._node = node
        self._polled: list[_PolledSource] = []
        for topic in dict.fromkeys(topics):
            try:
                self._polled.append(_PolledSource(node, topic))
            except (InvalidTopicNameException, ValueError) as error:
                got = str(error).strip().splitlines()[0]
                self.problems.append(
                    f"parameter estop.topics: expected names of topics, got '{topic}' ({got})"
                )
        if not self._polled:
            self._polled = [_PolledSource(node, topic) for topic in DEFAULT_TOPICS]

    @property
    def sources(self) -> list[EstopSource]:
        """The latches for the `Operator`, one for each topic."""
        return [one.source for one in self._polled]

    @property
    def topics(self) -> list[str]:
        """Fully resolved names of the subscribed topics."""
        return [one.topic for one in self._polled]

    def drain(self, operator: Operator) -> None:
        """Take all waiting messages, for at most a quarter of the time since the last call.

        Never blocks. Only one thread at a time may call it: the control thread, or the executor
        while there is no control thread.
        """
        for one in self._polled:
            one.drain(operator, self.loss_is_press)

    def hear_guard(self, topic: str, operator: Operator) -> None:
        """Take over a press that the guard has heard and the operator has not.

        A publisher that the guard discovers first, and that ends after one message, reaches the
        guard only. A `false` cannot release this press, because its `true` never arrived: `~/arm`
        does.

        Args:
            topic: of the press, fully resolved; "": there was none.
            operator: the node's.
        """
        if not topic or operator.latched:
            return
        source = next((one.source for one in self._polled if one.topic == topic), self.sources[0])
        why = f"{topic}, heard by the guard only"
        operator.hear_estop(True, time.monotonic_ns(), source, why)
        source.shared = True

    def look(self) -> list[str]:
        """Check the ROS graph. The executor calls this a few times a second.

        Returns:
            One sentence for the operator about each topic that needs attention: a publisher that
            cannot be received, or a press that only ~/arm releases.
        """
        return [sentence for one in self._polled if (sentence := one.look(self._node))]


class _PolledSource:
    """One topic: its subscription, its latch and its publishers."""

    def __init__(self, node: Node, topic: str) -> None:
        self.source = EstopSource(topic)
        self._polled = PolledSubscription(node, Bool, topic, QoSProfile(depth=DEPTH))
        self.topic = str(self._polled.subscription.topic_name)
        self._waited = 0  # messages taken since the queue was last empty
        self._drained_ns = time.monotonic_ns()
        self._publishers: frozenset[Any] = frozenset()  # ids at the executor's last check
        self._count = 0
        self._until_refresh = 0

    def drain(self, operator: Operator, loss_is_press: bool) -> None:
        source = self.source
        if source.pressed:
            self._note_publishers()
        end_ns = 0
        while not self._take(operator, _AT_ONCE):
            now_ns = time.monotonic_ns()
            if not end_ns:
                end_ns = now_ns + max(_LONGEST_NS, (now_ns - self._drained_ns) // 4)
            self._judge_loss(operator, loss_is_press)
            if now_ns >= end_ns:
                self._drained_ns = now_ns
                return
        self._judge_loss(operator, loss_is_press)
        self._waited = 0
        self._drained_ns = time.monotonic_ns()

    def _judge_loss(self, operator: Operator, loss_is_press: bool) -> None:
        """Count a full queue as a press, because earlier messages may be lost.

        The queue was full if `DEPTH` messages were taken without emptying it.
        """
        if self._waited < DEPTH:
            return
        self._waited = 0
        if loss_is_press:
            source = self.source
            why = f"{source.name} (over {DEPTH} messages waited, a press may be lost)"
            operator.hear_estop(True, time.monotonic_ns(), source, why)

    def _take(self, operator: Operator, most: int) -> bool:
        """Take at most `most` messages; return whether the queue is empty."""
        for _ in range(most):
            taken = self._polled.take_raw()
            if taken is None:
                return True
            raw = taken[0]
            self._waited += 1
            # A std_msgs/Bool has 4 bytes of encapsulation and 1 byte of content. A shorter
            # message cannot be read and counts as a press.
            pressed = len(raw) < 5 or raw[4] != 0
            if pressed or self.source.pressed:
                self._hear(operator, pressed)
        return False

    def _hear(self, operator: Operator, pressed: bool) -> None:
        if not pressed:
            self._note_publishers()
        operator.hear_estop(pressed, time.monotonic_ns(), self.source)
        if pressed:
            self._note_publishers()

    def _note_publishers(self) -> None:
        """Mark the press as shared if the topic has not exactly one publisher.

        From then on a `false` no longer releases this press.
        """
        count = self._polled.publishers()
        if count is not None and count != 1:
            self.source.shared = True

    def look(self, node: Node) -> str:
        """Compare the graph with the last check; return a sentence for the operator, or ''."""
        source, subscription = self.source, self._polled.subscription
        count = node.count_publishers(subscription.topic_name)
        self._until_refresh -= 1
        if count != self._count or source.pressed or self._until_refresh <= 0:
            self._until_refresh = 20
            infos = publishers_of(node, subscription.topic_name)
            present = frozenset(bytes(info.endpoint_gid) for info in infos)
            if self._publishers - present or len(present) > 1:
                # The executor checks this too: on ROS 2 Humble the control thread cannot count
                # the publishers.
                source.shared = source.shared or source.pressed
            self._publishers, self._count = present, count
            source.unheard = unheard_publishers(infos, subscription, _TYPE)
        if source.unheard:
            return f"{source.name}: {source.unheard}"
        if source.pressed and source.shared:
            several = (
                "has several publishers" if count > 1 else "another publisher may have pressed"
            )
            why = several if count else "its publishers have gone"
            return f"{source.name} is pressed and {why}: only ~/arm releases it"
        return ""
