"""The topics of one policy, of which the next one takes over those that it has as well.

A new publisher is heard only once its receivers have found it: the stream of commands would
have a gap, and a robot would stop. So a reload keeps what stays the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription


class _Kept(NamedTuple):
    key: tuple[Any, ...]  # what must be equal for the next policy to use the entity
    entity: Any  # Publisher or Subscription
    destroy: Callable[[Any], bool]  # of the node


class KeptTopics:
    """`Topics` of one policy: from those of the one before where they fit, else new ones.

    Only `destroy` releases them, all together, because the next policy may already use some.
    """

    def __init__(self, node: Node, before: KeptTopics | None = None) -> None:
        self._node = node
        self._made: list[_Kept] = []
        self._spare = list(before._made) if before is not None else []

    def create_publisher(
        self, message_type: Any, topic: str, qos: QoSProfile, /, **options: Any
    ) -> Publisher:
        """As `Node.create_publisher`."""
        return self._keep(
            ("publisher", message_type, topic),
            qos,
            lambda: self._node.create_publisher(message_type, topic, qos, **options),
            self._node.destroy_publisher,
        )

    def create_subscription(
        self,
        message_type: Any,
        topic: str,
        callback: Callable[[Any], None],
        qos: QoSProfile,
        /,
        **options: Any,
    ) -> Subscription:
        """As `Node.create_subscription`; a kept one keeps its callback."""
        return self._keep(
            ("subscription", message_type, topic),
            qos,
            lambda: self._node.create_subscription(message_type, topic, callback, qos, **options),
            self._node.destroy_subscription,
        )

    def _keep(
        self,
        what: tuple[Any, ...],
        qos: QoSProfile,
        create: Callable[[], Any],
        destroy: Callable[[Any], bool],
    ) -> Any:
        key = (*what, qos.reliability, qos.durability, qos.depth)
        kept = next((spare for spare in self._spare if spare.key == key), None)
        if kept is not None:
            self._spare.remove(kept)
        else:
            kept = _Kept(key, create(), destroy)
        self._made.append(kept)
        return kept.entity

    def has(self, entity: Any) -> bool:
        """Whether it is one of these."""
        return any(kept.entity is entity for kept in self._made)

    def destroy_subscription(self, _subscription: Subscription, /) -> bool:
        """Nothing yet; see `destroy`."""
        return False

    def destroy(self, but: KeptTopics | None = None) -> None:
        """Destroy everything that `but` does not have; nothing may use it any more.

        What `but` creates from now on is new: what it could have kept is gone.
        """
        for kept in self._made:
            if but is None or not but.has(kept.entity):
                kept.destroy(kept.entity)
        self._spare = []
        if but is not None:
            but._spare = []
