"""Reads the URDF that `robot_state_publisher` publishes on the topic robot_description."""

from __future__ import annotations

import time

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from policy_runner.core.errors import refuse
from policy_runner.ros.inputs.polling import PolledSubscription
from policy_runner.ros.messages.types import message_class

TOPIC = "robot_description"
_LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


def robot_description(node: Node, source: str, timeout_s: float = 2.0) -> str | None:
    """Read the URDF from the topic if the parameter `limits.urdf` is "topic"; else return None.

    The topic is polled, because *configure* runs inside the executor that would deliver the
    message.

    Args:
        node: subscribes to the topic.
        source: value of the parameter `limits.urdf`.
        timeout_s: how long to wait for a message [s].

    Raises:
        Refusal: no URDF was published in time.
    """
    if source != "topic":
        return None
    string = message_class("std_msgs/msg/String", "limits.urdf")
    polled = PolledSubscription(node, string, TOPIC, _LATCHED)
    try:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            taken = polled.take()
            if taken is not None:
                return str(taken[0].data)
            time.sleep(0.01)
    finally:
        polled.destroy()
    topic = node.resolve_topic_name(TOPIC)
    expected = f"a URDF on {topic} (std_msgs/msg/String, transient local)"
    got = f"none within {timeout_s:g} s"
    raise refuse("", "parameter limits.urdf", expected, got, "start robot_state_publisher first")
