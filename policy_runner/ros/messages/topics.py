"""Topic names that several packages use, and protocols that create publishers/subscriptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # annotations only: in Humble, event callbacks are in another module
    from rclpy.callback_groups import CallbackGroup
    from rclpy.event_handler import SubscriptionEventCallbacks
    from rclpy.publisher import Publisher
    from rclpy.qos import QoSProfile
    from rclpy.qos_overriding_options import QoSOverridingOptions
    from rclpy.subscription import Subscription

COMMAND_TOPIC = "joint_commands"


class Publishers(Protocol):
    """Creates publishers: an rclpy node, or a substitute for it."""

    def create_publisher(
        self,
        message_type: Any,
        topic: str,
        qos: QoSProfile,
        /,
        *,
        callback_group: CallbackGroup | None = None,
        qos_overriding_options: QoSOverridingOptions | None = None,
    ) -> Publisher:
        """See `rclpy.node.Node.create_publisher`."""


class Topics(Publishers, Protocol):
    """Creates publishers and subscriptions: an rclpy node, or the `KeptTopics` of a reload."""

    def create_subscription(
        self,
        message_type: Any,
        topic: str,
        callback: Callable[[Any], None],
        qos: QoSProfile,
        /,
        *,
        callback_group: CallbackGroup | None = None,
        event_callbacks: SubscriptionEventCallbacks | None = None,
        qos_overriding_options: QoSOverridingOptions | None = None,
    ) -> Subscription:
        """See `rclpy.node.Node.create_subscription`."""

    def destroy_subscription(self, subscription: Subscription, /) -> bool:
        """See `rclpy.node.Node.destroy_subscription`."""
