"""Age of a polled message: from the middleware's wall time, limited by our own observations."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")
MS = 1_000_000


class Queue:
    """Replaces a subscription: messages with the wall time of their reception."""

    def __init__(self) -> None:
        self.waiting: list[tuple[bytes, dict[str, int]]] = []

    def receive(self, wall_ns: int) -> None:
        self.waiting.append((b"", {"received_timestamp": wall_ns}))

    def take_raw(self) -> Any:
        return self.waiting.pop(0) if self.waiting else None


@pytest.fixture
def polled(monkeypatch: pytest.MonkeyPatch) -> Any:
    from policy_runner.core.inputs.slot import InputSlot
    from policy_runner.core.spec import Input
    from policy_runner.ros.inputs import polling

    class Rig:
        wall_ns = 1_700_000_000 * 10**9

    rig: Any = Rig()
    monkeypatch.setattr(polling.time, "time_ns", lambda: rig.wall_ns)
    rig.queue = Queue()
    rig.slot = InputSlot("given", Input(type="std_msgs/msg/Bool", topic="t"))
    rig.input = polling.PolledInput(rig.queue, rig.slot, lambda _raw: ("", 0), 100)
    return rig


def age_ms(rig: Any, now_ns: int) -> float:
    rig.input.drain(now_ns)
    return float(now_ns - rig.slot.arrived_ns) / MS


def test_the_time_in_the_queue_counts(polled: Any) -> None:
    polled.input.drain(100 * MS)
    polled.queue.receive(polled.wall_ns)
    polled.wall_ns += 7 * MS
    assert age_ms(polled, 110 * MS) == 7.0


@pytest.mark.parametrize("jump_s", [0.5, 5.0, 3600.0, -0.5, -3600.0])
def test_a_jump_of_the_wall_clock_ages_nothing_by_more_than_a_period(
    polled: Any, jump_s: float
) -> None:
    polled.input.drain(100 * MS)
    polled.queue.receive(polled.wall_ns)
    polled.wall_ns += round(jump_s * 1e9)
    # The queue was empty one period ago, so no message in it can be older than that.
    assert 0.0 <= age_ms(polled, 110 * MS) <= 10.0
    polled.queue.receive(polled.wall_ns)
    polled.wall_ns += 2 * MS
    assert age_ms(polled, 120 * MS) == 2.0


def test_what_waited_since_before_the_first_tick_is_as_old_as_it_is(polled: Any) -> None:
    polled.queue.receive(polled.wall_ns)
    polled.wall_ns += 3000 * MS
    assert age_ms(polled, 110 * MS) == 3000.0


def test_after_a_suspension_the_old_messages_are_old(polled: Any) -> None:
    polled.input.drain(100 * MS)
    polled.queue.receive(polled.wall_ns)
    polled.wall_ns += 800 * MS
    assert age_ms(polled, 905 * MS) == 800.0


def test_who_takes_over_knows_when_the_queue_was_empty(polled: Any) -> None:
    from policy_runner.ros.inputs import polling

    slot = type(polled.slot)("given", polled.slot.spec)
    other = polling.PolledInput(polled.queue, slot, lambda _raw: ("", 0), 100)
    polled.input.also = other
    polled.input.drain(100 * MS)
    polled.input.hand_over()
    assert polled.input.also is None
    polled.queue.receive(polled.wall_ns)
    polled.wall_ns += 5000 * MS  # the wall clock is set
    other.drain(110 * MS)
    assert (110 * MS - slot.arrived_ns) / MS == 10.0
    polled.input.hand_over()  # there is no second reader any more
