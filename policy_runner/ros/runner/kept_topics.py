"""The topics of one policy, of which the next one takes over those that it has as well.

A new publisher is heard only once its receivers have found it: the stream of commands would
have a gap, and a robot would stop. So a reload keeps what stays the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

_ACKNOWLEDGED_WITHIN_S = 1.0
_LOOK_AGAIN_S = 0.002


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


class Left:
    """Whether the topics that a reload left behind may be destroyed.

    That is so once the control thread has sent their last commands, and every receiver has
    confirmed them; a receiver that does not is waited for a second. Nothing here blocks the
    control thread.
    """

    def __init__(self, sent: Callable[[], bool], acknowledged: Callable[[], bool]) -> None:
        """Both are asked by the executor, again and again, and return at once."""
        self._sent = sent
        self._acknowledged = acknowledged
        self._until_s: float | None = None

    def __call__(self) -> bool:
        """Whether they may go."""
        if not self._sent():
            return False
        if self._until_s is None:
            self._until_s = time.monotonic() + _ACKNOWLEDGED_WITHIN_S
        return self._acknowledged() or time.monotonic() > self._until_s


def wait_for(true: Callable[[], bool], timeout_s: float) -> None:
    """Ask again and again until it is true, for a bounded time; not for the control thread."""
    until_s = time.monotonic() + timeout_s
    while not true() and time.monotonic() < until_s:
        time.sleep(_LOOK_AGAIN_S)
