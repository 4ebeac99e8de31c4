"""The topics of one policy, of which the next one takes over those that it has as well.

A new publisher is heard only once its receivers have found it: the stream of commands would
have a gap, and a robot would stop. So a reload keeps what stays the same.
"""

from __future__ import annotations

from typing import Any

_Entity = tuple[bool, Any]  # (publisher?, the entity)
_Key = tuple[Any, ...]


class KeptTopics:
    """Makes publishers and subscriptions as a node does, from those of before where they fit.

    They are given back all at once by `destroy`, and one at a time by nobody, since another
    policy may have them by then.
    """

    def __init__(self, node: Any, before: KeptTopics | None = None) -> None:
        self._node = node
        self._made: list[tuple[_Key, Any]] = []
        self._spare = list(before._made) if before is not None else []

    def create_publisher(self, message_type: Any, topic: str, qos: Any, **options: Any) -> Any:
        """As `Node.create_publisher`."""
        return self._one("create_publisher", message_type, topic, qos, options)

    def create_subscription(
        self, message_type: Any, topic: str, callback: Any, qos: Any, **options: Any
    ) -> Any:
        """As `Node.create_subscription`; a kept one keeps its callback."""
        options["callback"] = callback
        return self._one("create_subscription", message_type, topic, qos, options)

    def _one(self, make: str, message_type: Any, topic: str, qos: Any, options: Any) -> Any:
        key = (make, message_type, topic, qos.reliability, qos.durability, qos.depth)
        spare = next((pair for pair in self._spare if pair[0] == key), None)
        if spare is not None:
            self._spare.remove(spare)
            entity = spare[1]
        else:
            entity = getattr(self._node, make)(message_type, topic, qos_profile=qos, **options)
        self._made.append((key, entity))
        return entity

    def has(self, entity: Any) -> bool:
        """Whether it is one of these."""
        return any(made is entity for _, made in self._made)

    def destroy_publisher(self, _publisher: Any) -> None:
        """Nothing yet; see `destroy`."""

    def destroy_subscription(self, _subscription: Any) -> None:
        """Nothing yet; see `destroy`."""

    def destroy(self, but: KeptTopics | None = None) -> None:
        """Give everything back that `but` does not have; nobody may use it any more.

        What `but` makes from now on is new: what it could have kept is gone.
        """
        for (make, *_), entity in self._made:
            if but is None or not but.has(entity):
                getattr(self._node, make.replace("create", "destroy"))(entity)
        self._spare = []
        if but is not None:
            but._spare = []
