"""Who asks for commands and can never get any: from what the graph knows, once a second."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rclpy.qos import QoSCompatibility, qos_check_compatible


def deaf_receivers(node: Any, publishers: Iterable[Any]) -> str:
    """A sentence about receivers that hear none of our commands: another type or QoS; or ''."""
    sentences = []
    for publisher in publishers:
        topic = publisher.topic_name
        # Two counts first: what follows holds the interpreter for a part of a fast loop's period.
        if node.count_subscribers(topic) <= publisher.get_subscription_count():
            continue
        # As the middleware announces it: a profile of our own says "default" in its places.
        ours = [
            info
            for info in node.get_publishers_info_by_topic(topic)
            if (info.node_name, info.node_namespace) == (node.get_name(), node.get_namespace())
        ]
        for info in node.get_subscriptions_info_by_topic(topic) if ours else ():
            name = f"{info.node_namespace.rstrip('/')}/{info.node_name}"
            if info.topic_type != ours[0].topic_type:
                expected = f"expects {info.topic_type} on {topic}"
                sentences.append(f"{name} {expected}, which carries {ours[0].topic_type}")
                continue
            compatibility, why = qos_check_compatible(ours[0].qos_profile, info.qos_profile)
            if compatibility == QoSCompatibility.ERROR:
                sentences.append(f"{name} cannot hear {topic}: {why.strip().rstrip(';')}")
    return "; ".join(sentences)
