"""Limits of a message's length: longer messages are refused before they are read."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")
MOST = 100


class Queue:
    """Replaces a subscription: holds messages of these lengths."""

    def __init__(self) -> None:
        self.waiting: list[int] = []

    def take_raw(self) -> Any:
        if not self.waiting:
            return None
        return bytes(self.waiting.pop(0)), {"received_timestamp": 0}


class Rig:
    """One input, and the messages that its reader got."""

    def __init__(self, known: int = 0) -> None:
        """`known`: length of a message that the slot knows to be usable [bytes]; 0: unknown."""
        from policy_runner.core.inputs.slot import InputSlot
        from policy_runner.core.spec import Input
        from policy_runner.ros.inputs.polling import PolledInput

        self.read: list[int] = []
        self.queue: Any = Queue()
        self.slot = InputSlot("given", Input(type="std_msgs/msg/Bool", topic="t"))
        if known:
            self.slot.expect_at_most(known)
        self.input = PolledInput(self.queue, self.slot, self._read, MOST)

    def _read(self, raw: bytes) -> tuple[str, int]:
        self.read.append(len(raw))
        return "", 0

    def take(self, *lengths: int) -> None:
        self.queue.waiting = list(lengths)
        self.input.drain(1, "now")


def test_a_message_longer_than_allowed_is_never_read() -> None:
    rig = Rig()
    rig.take(MOST)
    assert (rig.read, rig.slot.count, rig.slot.faults) == ([MOST], 1, 0)
    rig.take(MOST + 1, 1 << 20)
    assert (rig.read, rig.slot.count, rig.slot.faults) == ([MOST], 1, 2)
    assert "1048576 bytes" in rig.slot.fault
    assert f"at most {MOST}" in rig.slot.fault
    assert "max_message_bytes" in rig.slot.fault
    rig.take(1)
    assert (rig.slot.count, rig.slot.fault) == (2, "")


@pytest.mark.parametrize(("known", "most"), [(40, 40), (MOST + 50, MOST)])
def test_the_shorter_of_what_is_allowed_and_what_is_usable_counts(known: int, most: int) -> None:
    rig = Rig(known)
    rig.take(most, most + 1)
    assert rig.read == [most]
    assert f"at most {most}" in rig.slot.fault


def test_the_next_policy_of_a_reload_reads_no_longer_ones_either() -> None:
    rig, other = Rig(), Rig()
    rig.input.also = other.input
    rig.take(MOST + 1, 7)
    assert (rig.read, other.read) == ([7], [7])
    assert (rig.slot.faults, other.slot.faults) == (1, 1)


def test_what_a_reader_raises_is_a_refused_message() -> None:
    rig = Rig()

    def broken(_raw: bytes) -> tuple[str, int]:
        raise ValueError("odd")

    rig.input._read = broken
    rig.take(3, 3)
    assert (rig.slot.count, rig.slot.faults, rig.slot.fault) == (0, 2, "ValueError: odd")
