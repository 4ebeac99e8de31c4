"""Inputs that are texts, such as `~/prompt`: latched topics, and the parameter `prompt`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from policy_runner.core.inputs.joints import NEVER
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.inputs.text import string_data, string_message
from policy_runner.ros.inputs.polling import PolledInput, PolledSubscription
from policy_runner.ros.messages.raw_reader import RawReader
from policy_runner.ros.messages.topics import Topics

# A publisher that is not latched cannot reach a latched subscription, and a subscription that is
# not latched gets no text from before it. So a text has one of each.
LATCHED = QoSProfile(
    depth=1,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
ANY = QoSProfile(
    depth=10,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)


def text_reader(slot: InputSlot) -> RawReader:
    """Return the reader that writes a std_msgs/String into a slot."""
    keep = slot.text_values()

    def read(raw: bytes) -> tuple[str, int]:
        return keep(string_data(raw)), 0

    return read


def text_inputs(
    topics: Topics, message_type: Any, slot: InputSlot, read: RawReader, max_bytes: int
) -> list[PolledInput]:
    """Subscribe to the topic of a text: to publishers that are latched, and to all others.

    Args:
        topics: creates the subscriptions.
        message_type: class of the messages.
        slot: gets the text.
        read: writes a message into the slot.
        max_bytes: larger messages are refused.
    """
    return [
        PolledInput(
            PolledSubscription(topics, message_type, slot.spec.topic, qos, overrides=False),
            slot,
            read,
            max_bytes,
        )
        for qos in (LATCHED, ANY)
    ]


def say(inputs: Sequence[PolledInput], text: str, now_ns: int) -> None:
    """Give every text input this text, as a message that arrives now; between two ticks.

    What waits on their topics is older, so it is read first. Of an inactive node it may have waited
    for hours.
    """
    texts = [one for one in inputs if one.slot.text is not None]
    for one in texts:
        one.drain(now_ns, "now")
    raw = string_message(text)
    for one in {one.slot.name: one for one in texts}.values():
        one.hear(raw, now_ns)


def keep_texts(pairs: Sequence[tuple[PolledInput | None, PolledInput]]) -> Callable[[], None]:
    """Return a function that gives inputs of a next policy the texts of the present one.

    A latched message comes once, so the next policy gets none from a subscription that both have.

    Args:
        pairs: an input of the present policy, or None, and one of the next, of the same topic.
    """

    def give() -> None:
        for before, one in pairs:
            slot = None if before is None else before.slot
            if slot is None or slot.text is None:
                continue
            # An empty text has ended the task: the parameter must not begin it again.
            if slot.text.is_given or slot.arrived_ns != NEVER:
                # First none: a text that the next policy cannot read must not leave the robot with
                # the parameter's, which may be another task.
                one.hear(string_message(""), slot.arrived_ns)
                if slot.text.is_given:
                    one.hear(string_message(slot.text.data.decode()), slot.arrived_ns)

    return give
