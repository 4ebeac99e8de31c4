"""The topics of one policy. The next policy reuses those that both policies have.

Receivers get messages of a new publisher only after they have discovered it: the stream of
commands would have a gap, and a robot would stop. So a reload keeps the topics that stay the same.
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
    key: tuple[Any, ...]  # the next policy may reuse the entity if its key is equal
    entity: Any  # Publisher or Subscription
    destroy: Callable[[Any], bool]  # the node's method


class KeptTopics:
    """The `Topics` of one policy. It reuses those of the previous policy, and creates the others.

    Only `destroy` releases them, all together, because the next policy may already use some.
    """

    def __init__(self, node: Node, before: KeptTopics | None = None) -> None:
        """Start with no topic; `before` has the topics of the previous policy for reuse."""
        self._node = node
        self._made: list[_Kept] = []
        self._spare = list(before._made) if before is not None else []

    def create_publisher(
        self, message_type: Any, topic: str, qos: QoSProfile, /, **options: Any
    ) -> Publisher:
        """Reuse a publisher or create one; arguments as in `Node.create_publisher`."""
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
        """Reuse a subscription or create one; arguments as in `Node.create_subscription`.

        A reused subscription keeps its old callback.
        """
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
        """Whether `entity` is one of these topics."""
        return any(kept.entity is entity for kept in self._made)

    def destroy_subscription(self, _subscription: Subscription, /) -> bool:
        """Do nothing: only `destroy` releases topics."""
        return False

    def destroy(self, but: KeptTopics | None = None) -> None:
        """Destroy these topics, except those that `but` has. No thread may use them any more.

        Later topics of `but` are created new, because none is left for reuse.
        """
        for kept in self._made:
            if but is None or not but.has(kept.entity):
                kept.destroy(kept.entity)
        self._spare = []
        if but is not None:
            but._spare = []


class Left:
    """Whether the topics that a reload left behind may be destroyed.

    They may be destroyed after the control thread has sent their last commands and every receiver
    has confirmed them. The wait for confirmation ends after 1 s. It never blocks the control
    thread.
    """

    def __init__(self, sent: Callable[[], bool], acknowledged: Callable[[], bool]) -> None:
        """Store the two questions. The executor asks them repeatedly, and both return at once.

        Args:
            sent: whether the control thread has sent the last commands.
            acknowledged: whether every receiver has confirmed them.
        """
        self._sent = sent
        self._acknowledged = acknowledged
        self._until_s: float | None = None

    def __call__(self) -> bool:
        """Whether the topics may be destroyed now."""
        if not self._sent():
            return False
        if self._until_s is None:
            self._until_s = time.monotonic() + _ACKNOWLEDGED_WITHIN_S
        return self._acknowledged() or time.monotonic() > self._until_s


def wait_for(true: Callable[[], bool], timeout_s: float) -> None:
    """Poll `true` until it returns True or the time is over; not for the control thread."""
    until_s = time.monotonic() + timeout_s
    while not true() and time.monotonic() < until_s:
        time.sleep(_LOOK_AGAIN_S)
