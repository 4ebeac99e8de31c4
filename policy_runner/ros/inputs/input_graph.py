"""Why an input does not arrive, from what the graph knows: asked for, never in the hot path."""

from __future__ import annotations

from typing import Any

from rclpy.qos import QoSCompatibility, qos_check_compatible


def explain_silence(node: Any, subscription: Any, type_name: str) -> str:
    """A sentence when no publisher can be heard: none, another type, an incompatible QoS; or ''."""
    topic = subscription.topic_name
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return f"no publisher on {topic}"
    matching = [info for info in publishers if info.topic_type == type_name]
    if not matching:
        types = ", ".join(sorted({info.topic_type for info in publishers}))
        return f"{topic} carries {types}, expected {type_name}"
    reasons = []
    for info in matching:
        compatibility, reason = qos_check_compatible(info.qos_profile, subscription.qos_profile)
        if compatibility != QoSCompatibility.ERROR:  # a new object each time: not "is"
            return ""
        reasons.append(reason)
    return f"incompatible QoS on {topic}: {reasons[0].strip()}"
