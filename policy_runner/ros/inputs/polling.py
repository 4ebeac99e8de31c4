"""Subscriptions that no executor ever touches: the control thread takes the messages itself.

It uses the binding below rclpy's public surface, which is the same in Humble, Jazzy and Kilted
(rclpy's own `wait_for_message` uses it). It is checked once per subscription when it is made.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.context import Context
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from policy_runner.core.errors import refuse
from policy_runner.core.inputs.cdr import MOST_ITEMS, Unreadable
from policy_runner.core.inputs.joints import NEVER
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.ros.messages.raw_reader import (
    CheckedDeserializer,
    RawReader,
    header_stamp_ns,
)
from policy_runner.ros.messages.topics import Topics

try:  # Humble calls the module otherwise
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:
    from rclpy.qos_event import SubscriptionEventCallbacks  # type: ignore[no-redef]
# A queue holds 10; more takes in one tick would only chase a publisher faster than the loop.
MOST_TAKES = 16


class PolledGroup(CallbackGroup):
    """A callback group that refuses every entity, so that it stays out of the wait set.

    It must refuse all of them: one QoS event handler left in the executor makes it spin.
    """

    def can_execute(self, entity: Any) -> bool:
        """Never."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Never."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """Nothing began."""


class PolledSubscription:
    """One subscription, from which one thread takes the messages itself."""

    def __init__(
        self,
        topics: Topics,
        message_type: Any,
        topic: str,
        qos: QoSProfile,
        most_items: int = MOST_ITEMS,
        overrides: bool = True,
    ) -> None:
        """Subscribe.

        Args:
            topics: creates the subscription.
            message_type: class of the messages.
            topic: relative name.
            qos: of the subscription.
            most_items: strings and messages in the sequences of one message that `take` builds.
            overrides: whether `qos_overrides` apply. They are declared once for a topic, so that
                a second subscription with them would get the depth of the first.
        """
        given = QoSOverridingOptions.with_default_policies() if overrides else None
        self.damaged = 0  # messages that `take` left out, since they are not what the type says
        self.subscription = topics.create_subscription(
            message_type,
            topic,
            _never_called,
            qos,
            callback_group=PolledGroup(),
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            qos_overriding_options=given,
        )
        self._topics = topics
        handle = getattr(self.subscription, "handle", None)
        if not hasattr(handle, "take_message"):
            expected = "an rclpy whose subscription handles have take_message"
            raise refuse("", "rclpy", expected, "one without", "report the ROS distribution")
        self._handle: Any = handle
        self._type = message_type
        self._most_items = most_items
        self._build: CheckedDeserializer | None = None

    def take(self) -> tuple[Any, Any] | None:
        """The next message and its info, or None; never blocks.

        Damaged messages are left out and counted: the middleware's deserializer, which crashes on
        some of them (Kilted), does not see them.
        """
        if self._build is None:
            self._build = CheckedDeserializer(self._type, self._most_items)
        for _ in range(MOST_TAKES):
            taken = self.take_raw()
            if taken is None:
                return None
            raw, info = taken
            try:
                return self._build(raw), info
            except Unreadable:
                self.damaged += 1
        return None

    def take_raw(self) -> tuple[bytes, Any] | None:
        """The next message as it came over the wire, and its info, or None; never blocks."""
        with self._handle:
            taken: tuple[bytes, Any] | None = self._handle.take_message(self._type, True)
        return taken

    def publishers(self) -> int | None:
        """How many publishers this subscription hears at this moment; None on ROS 2 Humble.

        Under a microsecond, unlike a query of the graph.
        """
        count = getattr(self._handle, "get_publisher_count", None)
        if count is None:
            return None
        with self._handle:
            return int(count())

    def destroy(self) -> None:
        """Destroy the subscription; only after the taking thread has stopped."""
        self._topics.destroy_subscription(self.subscription)


class MessageWait:
    """Sleeps until one of some polled subscriptions has a message; for one thread."""

    def __init__(self, context: Context, polled: Sequence[PolledSubscription]) -> None:
        self._handles = [one.subscription.handle for one in polled]
        self._wait_set = rclpy_implementation.WaitSet(
            len(self._handles), 0, 0, 0, 0, 0, context.handle
        )

    def wait(self, timeout_ns: int) -> None:
        """Return when a message is there to take, or after the timeout."""
        # A wait drops what was not ready, so the set is filled again each time.
        self._wait_set.clear_entities()
        for handle in self._handles:
            self._wait_set.add_subscription(handle)
        self._wait_set.wait(timeout_ns)


class PolledInput:
    """One input of the policy: drains its subscription into its slot, once per tick."""

    def __init__(
        self, polled: PolledSubscription, slot: InputSlot, reader: RawReader, max_bytes: int
    ) -> None:
        self.polled = polled
        self.slot = slot
        self._read = reader
        self._max_bytes = min(max_bytes, slot.most_bytes) if slot.most_bytes > 0 else max_bytes
        self._emptied_ns = NEVER
        self._not_before_ns: int | None = None  # wall time, see `leave_out_before`
        # Second reader of the same topic, used during a reload.
        self.also: PolledInput | None = None

    def drain(self, now_ns: int, arrival: str = "waited") -> None:
        """Take all that is there; `now_ns` is on the loop's clock. When did a message arrive?

        "waited": now, less its time in the middleware, where that tells it plausibly: it may
        have lain there for most of a period. (It is wall time, which may be set between the two
        readings, and 0 on some middlewares.) It cannot have been there when the queue was empty.
        "now": simulation time, where wall time means nothing.
        "stamp": lockstep, where a message belongs to the step it is stamped with.
        """
        for _ in range(MOST_TAKES):
            taken = self.polled.take_raw()
            if taken is None:
                self._emptied_ns, self._not_before_ns = now_ns, None
                return
            raw, info = taken
            if self._not_before_ns is not None and self._is_left_out(info):
                continue
            # What header stamps are compared with; in lockstep they are the time itself.
            clock_ns = None if arrival == "stamp" else now_ns
            arrived_ns = now_ns
            if arrival == "waited":
                clock_ns = time.time_ns()
                wait_ns = clock_ns - info["received_timestamp"]
                if self._emptied_ns != NEVER:
                    wait_ns = min(wait_ns, now_ns - self._emptied_ns)
                arrived_ns -= max(0, wait_ns)
            self._hear(raw, arrived_ns, clock_ns, arrival)
            if self.also is not None:
                self.also._hear(raw, arrived_ns, clock_ns, arrival)

    def leave_out_before(self, wall_ns: int) -> None:
        """The clock jumped: what was received until then does not count as new.

        Args:
            wall_ns: when the message that made it jump was received [ns, wall time]; 0: unknown,
                then all that waits now is left out.
        """
        self._not_before_ns = wall_ns
        if wall_ns == 0:
            for _ in range(MOST_TAKES):
                if self.polled.take_raw() is None:
                    break
            self._not_before_ns = None

    def _is_left_out(self, info: Any) -> bool:
        # Messages come in the order of their reception: the first later one ends it.
        if info["received_timestamp"] <= (self._not_before_ns or 0):
            return True
        self._not_before_ns = None
        return False

    def hand_over(self) -> None:
        """The second reader continues alone, and knows when the queue was empty."""
        also, self.also = self.also, None
        if also is not None:
            also._emptied_ns = self._emptied_ns

    def _hear(self, raw: bytes, arrived_ns: int, clock_ns: int | None, arrival: str) -> None:
        slot = self.slot
        if len(raw) > self._max_bytes:
            most = f"{self._max_bytes} are read (max_message_bytes, or the spec's image)"
            slot.refused(f"a message of {len(raw)} bytes, at most {most}")
            return
        before_ns = slot.arriving_ns
        try:
            if arrival == "stamp":
                arrived_ns = header_stamp_ns(raw)
            slot.arriving_ns = arrived_ns
            fault, stamp = self._read(raw)
        except Unreadable as error:
            fault, stamp = f"a damaged message: {error}", 0
        except Exception as error:  # noqa: BLE001 - a bad message must not end the loop
            fault, stamp = f"{type(error).__name__}: {error}", 0
        if fault:
            slot.arriving_ns = before_ns
            slot.refused(fault)
        else:
            slot.received(arrived_ns, stamp, clock_ns)


def _never_called(_message: Any) -> None:
    raise AssertionError("a polled subscription was executed")


def input_qos(lockstep: bool) -> QoSProfile:
    """Best effort matches every publisher; lockstep may lose nothing."""
    return QoSProfile(
        depth=10,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE if lockstep else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
    )
