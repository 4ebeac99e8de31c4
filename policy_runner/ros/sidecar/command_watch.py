"""Watches the command topic from outside: drained raw twice a second, never decoded.

A Python callback at 500 Hz would cost a seventh of a core; a raw drain costs about a
hundredth and tells the same from the source timestamps.
"""

from __future__ import annotations

import time
from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from policy_runner.core.errors import Refusal
from policy_runner.ros.inputs.polling import PolledGroup, SubscriptionEventCallbacks
from policy_runner.ros.messages.types import message_class
from policy_runner.telemetry.runner.command_rate import CommandReading, CommandWindow

# Half a second at 1 kHz and some reserve.
_DEPTH = 1000
# Drains between two looks at the graph (2 s).
_LOOK_AGAIN = 4


class CommandWatch:
    """One topic of any type; subscribes when a publisher with an importable type appears."""

    def __init__(self, node: Node, topic: str) -> None:
        self._node = node
        self._topic = topic
        self._window = CommandWindow()
        self._subscription: Any = None
        self._type: Any = None
        self._publishers = 0
        self._drains_left = 0

    def drain(self) -> None:
        """Take everything that is there; call twice a second from the executor."""
        if self._drains_left <= 0:
            self._look()
            self._drains_left = _LOOK_AGAIN
        self._drains_left -= 1
        if self._subscription is None:
            return
        stamps = []
        handle = self._subscription.handle
        with handle:
            for _ in range(_DEPTH):
                taken = handle.take_message(self._type, True)
                if taken is None:
                    break
                stamps.append(taken[1]["source_timestamp"])
        self._window.add(stamps, time.monotonic_ns())

    def reading(self) -> CommandReading:
        """Figures at this moment."""
        return self._window.reading(self._publishers, time.monotonic_ns())

    def _look(self) -> None:
        publishers = self._node.get_publishers_info_by_topic(self._topic)
        self._publishers = len(publishers)
        if self._subscription is not None or not publishers:
            return
        self._type = installed_class(publishers[0].topic_type)
        if self._type is None:
            return
        self._subscription = self._node.create_subscription(
            self._type,
            self._topic,
            lambda _message: None,
            QoSProfile(
                history=HistoryPolicy.KEEP_LAST,
                depth=_DEPTH,
                reliability=ReliabilityPolicy.BEST_EFFORT,
            ),
            callback_group=PolledGroup(),
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
        )


def installed_class(type_name: str) -> Any:
    """Class of a message type such as `sensor_msgs/msg/Imu`, or None where it is not installed."""
    try:
        return message_class(type_name, "policy.command_topic")
    except Refusal:
        return None
