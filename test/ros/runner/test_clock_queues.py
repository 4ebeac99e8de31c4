"""Queues of /clock and the inputs: bounded, and after a jump back no old message counts as new."""

from __future__ import annotations

import struct
from importlib.util import find_spec
from typing import Any

import pytest
from cdr_rig import encode

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")
S = 1_000_000_000
WALL_NS = 1_700_000_000 * S


class Wire:
    """A subscription with given messages and given wall times of their reception."""

    def __init__(self) -> None:
        self.waiting: list[tuple[bytes, int]] = []
        self.endless = False
        self.taken = 0

    def take_raw(self) -> Any:
        if self.endless:
            self.taken += 1
            return clock(self.taken * 1000), {"received_timestamp": 0}
        if not self.waiting:
            return None
        raw, wall_ns = self.waiting.pop(0)
        return raw, {"received_timestamp": wall_ns}


def clock(at_ns: int) -> bytes:
    return b"\0\1\0\0" + struct.pack("<iI", *divmod(at_ns, S))


def value(number: float) -> bytes:
    return b"\0\1\0\0" + struct.pack("<d", number)


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A ticker in simulation time with one input, without a ROS graph."""
    from std_msgs.msg import Float64

    from policy_runner.core.inputs.slot import InputSlot
    from policy_runner.core.spec import Input
    from policy_runner.ros.inputs.polling import PolledInput
    from policy_runner.ros.messages.raw_reader import SlotReader
    from policy_runner.ros.runner import ticker

    class NoWait:
        def __init__(self, *_what: Any) -> None:
            pass

        def wait(self, _timeout_ns: int) -> None:
            pass

    monkeypatch.setattr(ticker, "MessageWait", NoWait)

    class Rig:
        clock: Any = Wire()
        wire: Any = Wire()

    made: Any = Rig()
    made.slot = InputSlot("given", Input(type="std_msgs/msg/Float64", topic="t"))
    made.slot.field("data")
    made.input = PolledInput(made.wire, made.slot, SlotReader(made.slot, Float64), 1000)
    node: Any = type("Node", (), {"context": None})()
    made.ticker = ticker.SimTimeTicker(node, S // 100, made.clock, [made.input])
    made.ticker.start()
    return made


def tick(rig: Any) -> int | None:
    """Wait and drain the input like the control loop."""
    now: int | None = rig.ticker.wait()
    if now is not None:
        if rig.ticker.jumped:
            rig.ticker.jumped = False
            rig.slot.forget()
        rig.input.drain(now, "now")
    return now


def test_a_publisher_of_the_clock_that_never_pauses_does_not_keep_the_loop(rig: Any) -> None:
    rig.clock.endless = True
    rig.ticker.wait()
    assert 0 < rig.clock.taken <= 16


def test_a_damaged_clock_is_counted(rig: Any) -> None:
    rig.clock.waiting = [(b"\0\1\0\0\1", 0), (b"\0\7\0\0" + bytes(8), 0), (clock(5 * S), 0)]
    assert tick(rig) == 5 * S
    assert rig.ticker.damaged == 2


def test_what_was_queued_before_the_jump_is_not_new(rig: Any) -> None:
    rig.clock.waiting = [(clock(100 * S), WALL_NS)]
    rig.wire.waiting = [(value(1.0), WALL_NS)]
    assert tick(rig) == 100 * S
    assert rig.slot.arrays["data"].tolist() == [1.0]
    # Two messages from before the jump, and one from after it.
    rig.wire.waiting = [(value(k), WALL_NS + k) for k in (2, 3, 5)]
    rig.clock.waiting = [(clock(1 * S), WALL_NS + 4)]
    assert tick(rig) == 1 * S
    assert (rig.slot.count, rig.slot.arrays["data"].tolist()) == (2, [5.0])


def test_without_a_time_of_reception_all_that_waits_is_left_out(rig: Any) -> None:
    rig.clock.waiting = [(clock(100 * S), 0)]
    assert tick(rig) == 100 * S
    rig.wire.waiting = [(value(2.0), 0), (value(3.0), 0)]
    rig.clock.waiting = [(clock(1 * S), 0)]
    assert tick(rig) == 1 * S
    assert (rig.slot.count, rig.slot.arrived_ns) == (0, -1)
    rig.wire.waiting = [(value(4.0), 0)]
    rig.clock.waiting = [(clock(S + S // 10), 0)]
    assert tick(rig) is not None
    assert rig.slot.arrays["data"].tolist() == [4.0]


def test_a_wall_clock_that_was_set_back_hides_no_message_for_longer_than_the_queue(
    rig: Any,
) -> None:
    rig.clock.waiting = [(clock(100 * S), WALL_NS)]
    tick(rig)
    rig.wire.waiting = [(value(2.0), WALL_NS)]
    rig.clock.waiting = [(clock(1 * S), WALL_NS + 1)]
    tick(rig)
    assert rig.slot.count == 0
    rig.wire.waiting = [(value(3.0), WALL_NS - 3600 * S)]
    rig.clock.waiting = [(clock(S + S // 10), WALL_NS - 3600 * S)]
    tick(rig)
    assert rig.slot.arrays["data"].tolist() == [3.0]


def test_in_lockstep_a_joint_of_a_time_that_has_not_come_yet_is_forgotten(
    rig: Any,
) -> None:
    from sensor_msgs.msg import JointState

    from policy_runner.core.inputs.slot import InputSlot
    from policy_runner.core.spec import Input
    from policy_runner.ros.inputs.polling import PolledInput
    from policy_runner.ros.messages.raw_reader import SlotReader
    from policy_runner.ros.runner.ticker import LockstepTicker

    slot = InputSlot("joints", Input(type="sensor_msgs/msg/JointState", topic="t"))
    slot.joint_values("position", ["a", "b"], {}, [0, 1])
    wire: Any = Wire()
    polled: Any = PolledInput(wire, slot, SlotReader(slot, JointState), 1000)
    polled.polled = wire
    node: Any = type("Node", (), {"context": None})()
    ticker = LockstepTicker(node, S // 100, rig.clock, [polled], lambda: None)
    ticker.start()

    def joints(at_ns: int, **positions: float) -> tuple[bytes, int]:
        message = JointState(name=list(positions), position=list(positions.values()))
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(at_ns, S)
        return encode(message), 0

    rig.clock.waiting = [(clock(100 * S), 0)]
    wire.waiting = [joints(100 * S, a=1.0, b=2.0)]
    assert ticker.wait() == 100 * S
    rig.clock.waiting = [(clock(1 * S), 0)]
    wire.waiting = [joints(100 * S + 1, b=3.0), joints(1 * S, a=4.0)]
    assert ticker.wait() == 1 * S
    assert slot.joints is not None
    assert slot.joints.values["position"][0] == 4.0
    assert slot.joints.seen_ns["position"].tolist() == [1 * S, -1]
    assert slot.missing() == "position of b"


class Stepped:
    """One input of a simulator in lockstep; the test sets its newest stamp."""

    def __init__(self) -> None:
        self.polled = Wire()
        self.slot: Any = type("Slot", (), {"stamp_ns": -1, "text": None})()

    def drain(self, _now_ns: int, arrival: str) -> None:
        assert arrival == "stamp"


def test_in_lockstep_every_step_is_answered_once_and_a_repeated_one_again(rig: Any) -> None:
    from policy_runner.ros.runner import ticker

    repeated: list[bool] = []
    one: Any = Stepped()
    node: Any = type("Node", (), {"context": None})()
    lockstep = ticker.LockstepTicker(
        node, S // 100, rig.clock, [one], lambda: repeated.append(True)
    )
    lockstep.start()

    def step(at_ns: int, stamp_ns: int) -> tuple[int | None, int]:
        """Send one message of /clock; return the tick and the number of repeated answers."""
        rig.clock.waiting.append((clock(at_ns), 0))
        one.slot.stamp_ns = stamp_ns
        before = len(repeated)
        return lockstep.wait(), len(repeated) - before

    assert step(S, S - 1) == (None, 0)  # the input of this step has not arrived
    assert step(S, S) == (S, 0)
    assert lockstep.wait() is None  # no message arrived
    assert not repeated
    assert step(S, S) == (None, 1)  # the simulator has not received the answer
    half = S + S // 200
    assert step(half, half) == (None, 1)  # between two ticks the last command stays valid
    due = S + S // 100
    assert step(due, due) == (due, 0)


def text_input(wire: Any) -> Any:
    from policy_runner.core.inputs.slot import InputSlot
    from policy_runner.core.spec import Input
    from policy_runner.ros.inputs.polling import PolledInput
    from policy_runner.ros.inputs.texts import text_reader

    slot = InputSlot("prompt", Input(type="std_msgs/msg/String", topic="~/prompt"))
    slot.text_values().array(8)
    return PolledInput(wire, slot, text_reader(slot), 1000)


def test_in_lockstep_no_step_waits_for_a_text(rig: Any) -> None:
    from policy_runner.core.inputs.text import string_message
    from policy_runner.ros.runner.ticker import LockstepTicker

    wire: Any = Wire()
    text = text_input(wire)
    slot = text.slot
    one: Any = Stepped()
    node: Any = type("Node", (), {"context": None})()
    lockstep = LockstepTicker(node, S // 100, rig.clock, [one, text], lambda: None)
    lockstep.start()
    for k, said in enumerate(("", "go", "on")):
        at_ns = S + k * S // 100
        rig.clock.waiting = [(clock(at_ns), 0)]
        wire.waiting = [(string_message(said), 0)] if said else []
        one.slot.stamp_ns = at_ns
        assert lockstep.wait() == at_ns
        assert slot.text.data == said.encode()
        assert not slot.fault


def test_a_parameter_is_newer_than_the_texts_that_wait() -> None:
    """An inactive node reads no topic; both subscriptions of the topic have the text."""
    from policy_runner.core.inputs.text import string_message
    from policy_runner.ros.inputs.texts import say

    wires: list[Any] = [Wire(), Wire()]
    texts = [text_input(wire) for wire in wires]
    texts[1].slot = texts[0].slot
    texts[1]._read = texts[0]._read
    for wire in wires:
        wire.waiting = [(string_message("older"), 0)]
    say(texts, "", S)
    for one in texts:
        one.drain(2 * S)
    assert not texts[0].slot.text.is_given
    wires[0].waiting = [(string_message("newer"), 0)]
    texts[0].drain(3 * S)
    assert texts[0].slot.text.data == b"newer"
