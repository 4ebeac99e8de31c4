"""Finds publishers that we cannot receive and subscribers that cannot receive us.

The source is the ROS graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSCompatibility, qos_check_compatible
from rclpy.subscription import Subscription

if TYPE_CHECKING:  # newer versions have this module as rclpy.endpoint_info
    from rclpy.topic_endpoint_info import TopicEndpointInfo

UNKNOWN_NAME = "_NODE_NAME_UNKNOWN_"  # the endpoint is discovered, its node's name is not yet


def deaf_receivers(node: Node, publishers: Iterable[Publisher]) -> str:
    """Describe the subscribers that cannot receive our commands (type or QoS); '' if none."""
    sentences = []
    for publisher in publishers:
        topic = publisher.topic_name
        # Compare two counts first: the queries below hold the interpreter for a considerable part
        # of a fast loop's period.
        if node.count_subscribers(topic) <= publisher.get_subscription_count():
            continue
        # Use our QoS as the middleware announces it: our own profile may contain "default".
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


def publishers_of(node: Node, topic: str) -> Sequence[TopicEndpointInfo]:
    """Return every known publisher of a topic, including this node's.

    Holds the interpreter for 0.05 to 0.3 ms, so do not call it in every tick.
    """
    infos: Sequence[TopicEndpointInfo] = node.get_publishers_info_by_topic(topic)
    return infos


def full_name(info: TopicEndpointInfo) -> str:
    """Return the node's name with its namespace."""
    if info.node_name == UNKNOWN_NAME:
        return "a node whose name is not known"
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"


def unheard_publishers(
    infos: Iterable[TopicEndpointInfo], subscription: Subscription, type_name: str
) -> str:
    """Describe the publishers that a subscription cannot receive (type or QoS); '' if none.

    Args:
        infos: publishers of the topic.
        subscription: its QoS must be compatible.
        type_name: message type of the subscription, as pkg/msg/Name.
    """
    sentences = []
    for info in infos:
        if info.topic_type != type_name:
            sentences.append(f"{full_name(info)} publishes {info.topic_type}, not {type_name}")
            continue
        compatibility, reason = qos_check_compatible(info.qos_profile, subscription.qos_profile)
        if compatibility == QoSCompatibility.ERROR:
            topic, why = subscription.topic_name, reason.strip().rstrip(";")
            sentences.append(f"incompatible QoS on {topic} of {full_name(info)}: {why}")
    return "; ".join(sentences)


def other_publishers(
    node: Node, topic: str, infos: Sequence[TopicEndpointInfo], guard: bool = True
) -> list[str]:
    """Return the full names of the other nodes that publish this topic, each once, sorted.

    Args:
        node: this node. Its own publishers do not count.
        topic: name of the topic in the graph.
        infos: publishers of one type, from `publishers_of`.
        guard: leave out this node's guard, `<name>_guard` in the same namespace.
    """
    own = f"{node.get_namespace().rstrip('/')}/{node.get_name()}"
    names = [full_name(info) for info in infos]
    mine = sum(publisher.topic_name == topic for publisher in node.publishers)
    found = {name for name in names if name != own and not (guard and name == f"{own}_guard")}
    if names.count(own) > mine:
        found.add(f"another node named {own}")
    return sorted(found)


def explain_silence(node: Node, subscription: Subscription, type_name: str) -> str:
    """Explain why a subscription receives nothing: no publisher, wrong type or wrong QoS.

    Returns '' if at least one publisher matches.
    """
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
        if compatibility != QoSCompatibility.ERROR:  # rclpy makes a new object each time: no "is"
            return ""
        reasons.append(reason)
    return f"incompatible QoS on {topic}: {reasons[0].strip()}"
