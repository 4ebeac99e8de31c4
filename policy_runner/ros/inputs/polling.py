"""Subscriptions without an executor: the control thread takes the messages itself.

They use the binding below rclpy's public API. It is the same in Humble, Jazzy and Kilted, and
rclpy's own `wait_for_message` uses it. Each new subscription checks once that it exists.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
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

try:  # the module has another name in Humble
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:
    from rclpy.qos_event import SubscriptionEventCallbacks  # type: ignore[no-redef]
# A queue holds 10 messages. More takes in one tick would only follow a publisher that is faster
# than the loop.
MOST_TAKES = 16
# input, bytes, arrival on the loop's clock [ns], clock for stamps [ns], kind of arrival
Tap = Callable[[str, bytes, int, int | None, str], None]


class PolledGroup(CallbackGroup):
    """A callback group that refuses every entity, so that no entity gets into the wait set.

    It must refuse all entities: one QoS event handler in the executor would make it spin.
    """

    def can_execute(self, entity: Any) -> bool:
        """Return False always."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Return False always."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """Do nothing, since no execution ever begins."""


class PolledSubscription:
    """One subscription whose messages one thread takes itself."""

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
            qos: profile of the subscription.
            most_items: limit of strings and messages in the sequences of one message for `take`.
            overrides: whether the parameters `qos_overrides` apply. They are declared once for
                each topic, so a second subscription with them would get the depth of the first.

        Raises:
            Refusal: this rclpy's subscriptions have no `take_message`.
        """
        given = QoSOverridingOptions.with_default_policies() if overrides else None
        self.damaged = 0  # messages that `take` skipped because their bytes do not fit the type
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
        """Return the next message and its info, or None; never blocks.

        Skips and counts damaged messages. They never reach the middleware's deserializer, which
        crashes on some of them (Kilted).
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
        """Return the next message's serialized bytes and its info, or None; never blocks."""
        with self._handle:
            taken: tuple[bytes, Any] | None = self._handle.take_message(self._type, True)
        return taken

    def publishers(self) -> int | None:
        """Return how many publishers match this subscription now; None on ROS 2 Humble.

        Takes less than a microsecond, unlike a query of the graph.
        """
        count = getattr(self._handle, "get_publisher_count", None)
        if count is None:
            return None
        with self._handle:
            return int(count())

    def destroy(self) -> None:
        """Destroy the subscription; call it only after the taking thread has stopped."""
        self._topics.destroy_subscription(self.subscription)


class MessageWait:
    """Sleeps until one of several polled subscriptions has a message; for one thread."""

    def __init__(self, context: Context, polled: Sequence[PolledSubscription]) -> None:
        self._handles = [one.subscription.handle for one in polled]
        self._wait_set = rclpy_implementation.WaitSet(
            len(self._handles), 0, 0, 0, 0, 0, context.handle
        )

    def wait(self, timeout_ns: int) -> None:
        """Return when a message can be taken, or after the timeout."""
        # A wait removes the entities that were not ready, so fill the set again each time.
        self._wait_set.clear_entities()
        for handle in self._handles:
            self._wait_set.add_subscription(handle)
        self._wait_set.wait(timeout_ns)


class PolledInput:
    """One input of the policy: moves the messages of its subscription into its slot, every tick."""

    def __init__(
        self, polled: PolledSubscription, slot: InputSlot, reader: RawReader, max_bytes: int
    ) -> None:
        """Connect a subscription with a slot.

        Args:
            polled: subscription of the input.
            slot: gets the values.
            reader: writes one raw message into the slot.
            max_bytes: larger messages are refused. The slot's own `most_bytes` may be lower.
        """
        self.polled = polled
        self.slot = slot
        self._read = reader
        self._max_bytes = min(max_bytes, slot.most_bytes) if slot.most_bytes > 0 else max_bytes
        self._emptied_ns = NEVER
        self._not_before_ns: int | None = None  # wall time, see `leave_out_before`
        # Second reader of the same topic, used during a reload.
        self.also: PolledInput | None = None
        self.tap: Tap | None = None  # gets every message before it is read; None: no black box

    def drain(self, now_ns: int, arrival: str = "waited") -> None:
        """Take all waiting messages.

        Args:
            now_ns: time of this tick on the loop's clock.
            arrival: how to find each message's time of arrival.
                "waited": now, minus the time it waited in the middleware, which may be most of a
                period. That time is the difference of two wall times. It can be wrong: the wall
                clock may be set between them, and some middlewares give 0. So it is limited to
                the time since the queue was last empty.
                "now": for simulation time, where wall time means nothing.
                "stamp": for lockstep, where a message belongs to the step of its stamp.
        """
        for _ in range(MOST_TAKES):
            taken = self.polled.take_raw()
            if taken is None:
                self._emptied_ns, self._not_before_ns = now_ns, None
                return
            raw, info = taken
            if self._not_before_ns is not None and self._is_left_out(info):
                continue
            # Header stamps are compared with this clock. In lockstep the stamps are the clock.
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

    def hear(self, raw: bytes, now_ns: int) -> None:
        """Read a message that did not come from the topic; between two ticks."""
        self._hear(raw, now_ns, None, "now")
        if self.also is not None:
            self.also._hear(raw, now_ns, None, "now")

    def leave_out_before(self, wall_ns: int) -> None:
        """Skip the messages received before a clock jump: they do not count as new.

        Args:
            wall_ns: when the /clock message of the jump was received [ns, wall time]. 0 means
                unknown; then all messages that wait now are skipped.
        """
        if self.slot.text is not None:  # it stays valid
            return
        self._not_before_ns = wall_ns
        if wall_ns == 0:
            for _ in range(MOST_TAKES):
                if self.polled.take_raw() is None:
                    break
            self._not_before_ns = None

    def _is_left_out(self, info: Any) -> bool:
        # Messages come in the order of their reception: the first later message ends the skipping.
        if info["received_timestamp"] <= (self._not_before_ns or 0):
            return True
        self._not_before_ns = None
        return False

    def hand_over(self) -> None:
        """Let the second reader continue alone; it gets the time when the queue was empty."""
        also, self.also = self.also, None
        if also is not None:
            also._emptied_ns = self._emptied_ns

    def _hear(self, raw: bytes, arrived_ns: int, clock_ns: int | None, arrival: str) -> None:
        if self.tap is not None:
            self.tap(self.slot.name, raw, arrived_ns, clock_ns, arrival)
        hear(self.slot, self._read, self._max_bytes, raw, arrived_ns, clock_ns, arrival)


def hear(
    slot: InputSlot,
    read: RawReader,
    max_bytes: int,
    raw: bytes,
    arrived_ns: int,
    clock_ns: int | None,
    arrival: str,
) -> None:
    """Read one message into its slot, or record there why it is unusable.

    Args:
        slot: gets the values.
        read: writes the numbers of a message of this slot.
        max_bytes: larger messages are refused.
        raw: the serialized message.
        arrived_ns: on the loop's clock.
        clock_ns: see `InputSlot.received`.
        arrival: see `PolledInput.drain`.
    """
    if len(raw) > max_bytes:
        most = f"{max_bytes} are read (max_message_bytes, or the spec's image)"
        slot.refused(f"a message of {len(raw)} bytes, at most {most}")
        return
    before_ns = slot.arriving_ns
    try:
        if arrival == "stamp" and slot.text is None:
            arrived_ns = header_stamp_ns(raw)
        slot.arriving_ns = arrived_ns
        fault, stamp = read(raw)
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
    """Return the QoS of an input: best effort matches every publisher; lockstep is reliable."""
    return QoSProfile(
        depth=10,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE if lockstep else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
    )
