"""No command follows the last one: with hanging, late and failing ticks, and emergency stops."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from children import wait_until
from core_rig import MS, make_rig, spec_content
from output_rig import FakeTopics, elements_of, make_commands, numbers_of

from policy_runner.core.safety.decision import Decision, Reason

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")


class Status:
    """A heartbeat that records its messages."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def tick(self, safety: Any, *_: Any) -> None:
        self.publish(safety)

    def publish(self, safety: Any, *_: Any) -> None:
        self.said.append((safety.decision.value, safety.reason.value))


class Estop:
    """~/estop, pressed by the test."""

    pressed = False

    def drain(self, operator: Any) -> None:
        if self.pressed:
            operator.hear_estop(True)


class Bench:
    """A control loop for two wheels without a ROS graph; every inference calls `during`."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        from policy_runner.ros.runner.control_loop import ControlLoop, LoopOptions, LoopPorts
        from policy_runner.ros.runner.ticker import WallTicker

        self.during: Any = lambda: None
        self.action: Any = 4.0
        kept = {"period_ns": 10 * MS, **settings}
        self.rig = make_rig(folder, spec_content(), compute=self._compute, **kept)
        self.rig.pipeline._clock_ns = time.perf_counter_ns
        self.topics = FakeTopics()
        self.commands = make_commands(self.topics, elements_of(a="velocity", b="velocity"))
        self.status, self.estop = Status(), Estop()
        self.ports = LoopPorts(
            WallTicker(10 * MS), [], self.commands, self.status, None, self.estop
        )  # type: ignore[arg-type]
        options = LoopOptions(dry_run=False, lockstep=False, window=100)
        self.loop = ControlLoop(
            self.rig.pipeline, self.ports, options, lambda: None, time.time_ns, None
        )
        prepare = self.loop._tick
        self.loop._tick = lambda now_ns: (self.feed(now_ns), prepare(now_ns))  # type: ignore

    def feed(self, now_ns: int) -> None:
        self.rig.joints("joints", now_ns, ["a", "b"], velocity=[1.0, 2.0])

    def _compute(self, _inputs: Any) -> dict[str, Any]:
        self.during()
        return {"act": self.action}

    def start(self) -> None:
        self.loop.start()
        wait_until(lambda: len(self.sent) > 3, 5.0, "commands")
        assert self.sent[-1] == [4.0, 4.0]

    @property
    def sent(self) -> list[list[float]]:
        return [list(numbers_of(message).values()) for _, message in self.topics.heard]

    @property
    def reason(self) -> Reason:
        return self.rig.pipeline.safety.reason


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made: list[Bench] = []

    def make(**settings: Any) -> Bench:
        made.append(Bench(tmp_path, **settings))
        return made[-1]

    yield make
    for one in made:
        one.loop.stop(2.0)


def test_nothing_follows_the_last_command_of_a_loop_that_hung(bench: Any) -> None:
    one = bench()
    hung, go = threading.Event(), threading.Event()
    one.start()

    def hang() -> None:
        hung.set()
        go.wait(5.0)

    one.during = hang
    assert hung.wait(2.0)
    assert not one.loop.stop(0.1)
    assert one.sent[-1] == [0.0, 0.0]
    count = len(one.sent)
    # After a failed deactivation the heartbeat does not say RUN, now or later.
    assert one.status.said[-1] == ("SAFE_STOP", "control thread failed")
    go.set()
    assert one.loop.stop(2.0)
    assert len(one.sent) == count
    assert one.rig.pipeline.safety.decision is Decision.SAFE_STOP
    assert one.reason is Reason.LOOP_FAILED


def test_a_command_whose_end_was_asked_for_meanwhile_does_not_leave(bench: Any) -> None:
    one = bench()
    asked = threading.Event()
    one.start()

    def stop() -> None:
        if not asked.is_set():
            one.action = 7.0
            asked.set()
            time.sleep(0.05)

    one.during = stop
    assert asked.wait(2.0)
    assert one.loop.stop(2.0)
    assert [7.0, 7.0] not in one.sent
    assert one.sent[-1] == [0.0, 0.0]


@pytest.mark.parametrize("where", ["inference", "drain"])
def test_a_command_whose_tick_began_too_long_ago_becomes_the_stop(bench: Any, where: str) -> None:
    one = bench()
    one.start()
    seen: list[Reason] = []
    late = threading.Event()

    def wait(*_: Any) -> None:
        if not late.is_set():
            late.set()
            time.sleep(0.35)
            # A new input: only the command is old.
            one.feed(time.monotonic_ns())

    judge = one.rig.pipeline.safety.judge

    def judged(*given: Any) -> Any:
        decision = judge(*given)
        seen.append(one.reason)
        return decision

    one.rig.pipeline.safety.judge = judged
    before = len(one.sent)
    if where == "inference":
        one.during = wait
    else:
        one.estop.drain = wait
    assert late.wait(2.0)
    wait_until(lambda: len(one.sent) > before + 10, 5.0)
    assert Reason.COMMAND_TOO_OLD in seen
    assert [0.0, 0.0] in one.sent[before:]
    wait_until(lambda: one.sent[-1] == [4.0, 4.0], 5.0, "RUN again")


def test_a_press_during_an_inference_stops_that_very_command(bench: Any) -> None:
    one = bench()
    one.start()
    pressed = threading.Event()

    def press() -> None:
        if not pressed.is_set():
            one.action = 7.0
            one.estop.pressed = True
            pressed.set()

    one.during = press
    assert pressed.wait(2.0)
    wait_until(lambda: one.sent[-1] == [0.0, 0.0], 2.0)
    assert [7.0, 7.0] not in one.sent
    assert one.reason is Reason.OPERATOR_STOP


def test_a_number_that_must_not_leave_becomes_the_stop_with_its_reason(bench: Any) -> None:
    one = bench()
    one.start()
    make = one.commands._make

    def spoiled(command: Any, *given: Any) -> str:
        return make(command * np.inf if command.any() else command, *given)

    one.commands._make = spoiled
    wait_until(lambda: one.sent[-1] == [0.0, 0.0], 2.0)
    assert one.reason is Reason.COMMAND_REFUSED
    assert one.rig.pipeline.safety.decision is Decision.SAFE_STOP
    assert one.rig.pipeline.safety.detail.startswith("velocity of a: inf")
    assert np.isfinite(one.sent).all()


def test_a_pipeline_that_is_broken_does_not_keep_the_last_command_back(bench: Any) -> None:
    one = bench()
    one.start()

    def broken(*_: Any) -> Any:
        raise ValueError("broken")

    one.rig.pipeline.stop_command = broken
    one.rig.pipeline.step = broken
    wait_until(lambda: not one.loop.running, 2.0)
    assert one.sent[-1] == [0.0, 0.0]
    assert one.status.said[-1] == ("SAFE_STOP", "control thread failed")


@pytest.mark.parametrize("wall_ns", [2**31 * 10**9, 10**19, -(10**9)])
def test_a_wall_clock_beyond_its_stamps_prevents_no_stop(bench: Any, wall_ns: int) -> None:
    one = bench()
    one.start()
    one.loop._stamp_clock = lambda: wall_ns
    count = len(one.sent)
    wait_until(lambda: len(one.sent) > count + 3, 2.0)
    assert one.loop.stop(2.0)
    assert one.loop.error is None
    assert one.sent[-1] == [0.0, 0.0]


def test_a_reload_that_drops_a_wheel_stops_it_in_the_tick_of_the_swap(
    bench: Any, tmp_path: Path
) -> None:
    from policy_runner.ros.runner.ticker import WallTicker

    one = bench()
    one.start()
    groups = [{"kind": "velocity", "joints": ["b"]}]
    content = spec_content(action=[{"tensor": "act", "groups": groups}])
    rig = make_rig(tmp_path, content, compute=lambda _inputs: {"act": -3.0}, period_ns=10 * MS)
    commands = make_commands(one.topics, elements_of(b="velocity"))
    ports = replace(one.ports, ticker=WallTicker(10 * MS), commands=commands)

    def swap() -> None:
        rig.joints("joints", time.monotonic_ns(), ["a", "b"], velocity=[1.0, 2.0])
        rig.pipeline.continue_from(one.rig.pipeline)
        one.rig = rig
        one.loop.take_over(rig.pipeline, ports)

    one.loop.call(swap)
    wait_until(lambda: one.sent[-1] == [-3.0], 2.0)
    swapped = one.sent.index([-3.0])
    assert one.sent[swapped - 1][0] == 0.0  # joint a; joint b has its old or its new value
    assert one.sent[swapped - 1][1] in (4.0, -3.0)
    assert all(message == [4.0, 4.0] for message in one.sent[: swapped - 1])
    assert one.loop.stop(2.0)
    assert one.sent[-1] == [0.0]


def test_what_a_reload_left_is_stopped_also_in_a_tick_without_a_command(
    bench: Any, tmp_path: Path
) -> None:
    from policy_runner.ros.runner.ticker import WallTicker

    one = bench()
    one.start()
    groups = [{"kind": "velocity", "joints": ["b"]}]
    content = spec_content(action=[{"tensor": "act", "groups": groups}])
    rig = make_rig(tmp_path, content, period_ns=10 * MS)
    step = rig.pipeline.step
    rig.pipeline.step = lambda *given: step(*given)._replace(command=None)  # type: ignore
    commands = make_commands(one.topics, elements_of(b="velocity"))
    ports = replace(one.ports, ticker=WallTicker(10 * MS), commands=commands)

    def swap() -> None:
        rig.pipeline.continue_from(one.rig.pipeline)
        one.loop.take_over(rig.pipeline, ports)

    one.loop.call(swap)
    wait_until(lambda: one.sent[-1] == [0.0, 4.0], 2.0, "the wheel that is left")


def test_a_loop_that_never_commanded_ends_without_a_word(bench: Any, tmp_path: Path) -> None:
    from policy_runner.ros.runner.control_loop import ControlLoop, LoopOptions

    one = bench()
    one.start()
    assert one.loop.stop(2.0)
    count = len(one.sent)
    rig = make_rig(tmp_path, spec_content(), period_ns=10 * MS)  # never fed
    rig.pipeline.stop_command = lambda: None  # type: ignore[method-assign]
    options = LoopOptions(dry_run=False, lockstep=False, window=100)
    again = ControlLoop(rig.pipeline, one.ports, options, lambda: None, time.time_ns, None)
    again.start()
    wait_until(lambda: again.ticks > 3, 2.0)
    assert again.stop(2.0)
    assert len(one.sent) == count


@pytest.mark.parametrize("position", ["damping", "hold"])
def test_positions_that_are_left_are_damped_as_their_stop_says(
    bench: Any, tmp_path: Path, position: str
) -> None:
    from policy_runner.core.settings import StopRule

    one = bench(stops=StopRule(position=position))
    told: list[bool] = []
    commands = make_commands(FakeTopics(), elements_of(b="velocity"))
    commands.continue_from = lambda _before, damped: told.append(damped)
    one.loop.take_over(one.rig.pipeline, replace(one.ports, commands=commands))
    assert told == [position == "damping"]
