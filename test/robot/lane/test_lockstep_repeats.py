"""In lockstep the commands do not depend on how long an inference really takes."""

from __future__ import annotations

import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lane_policy import MS, bound, feed, write_policy

from policy_runner.core.black_box.pipeline_recorder import Recorder
from policy_runner.core.black_box.records import Answered, Received, State
from policy_runner.core.black_box.replay import Replay
from policy_runner.core.black_box.ring import Memory
from policy_runner.robot.load import LoadedPolicy

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="needs onnx")

LATENCY = {"inference.simulated_latency": 0.03, "inference.tolerance": 0.0}
LOCKSTEP = {"lockstep": True, "command.type": "joint_state", **LATENCY}
TICKS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_policy(tmp_path_factory.mktemp("lockstep"))


def commands(loaded: LoadedPolicy, between: Any = lambda _k: None, late_ns: int = 0) -> list[Any]:
    """Step so many ticks of 20 ms; return every decision and command.

    `late_ns`: how far the clock is ahead at the look after a late tick.
    """
    found = []
    loaded.pipeline.activate()
    for k in range(TICKS):
        now_ns = 10**9 + k * 20 * MS
        feed(loaded, k, now_ns)
        between(k)
        look = partial(_look, now_ns, late_ns)
        step = loaded.pipeline.stepper(now_ns, None, look if late_ns else None)
        command = None if step.command is None else step.command.tobytes()
        found.append((step.decision.name, command))
    return found


def _look(now_ns: int, late_ns: int, late: bool) -> int:
    return now_ns + late_ns * late


def test_a_thread_with_any_duration_commands_what_the_tick_commands(folder: Path) -> None:
    offline = bound(folder, "control", **LATENCY)
    expected = commands(offline)
    offline.close()
    assert [one for one, _ in expected[:3]] == ["STARTING", "STARTING", "RUN"]
    assert len({command for _, command in expected}) > TICKS // 2
    thread = bound(folder, "thread", simulated=True, **LOCKSTEP)
    rng = np.random.default_rng(1)
    try:
        worker = thread.pipeline.policy.requests.lane._worker  # type: ignore[attr-defined]
        run = worker.run

        def late(*given: Any) -> Any:
            time.sleep(float(rng.choice([0.0, 0.005, 0.02])))
            return run(*given)

        worker.run = late

        def reset(k: int) -> None:
            if k == 30:
                thread.pipeline.reset()

        def reset_offline(k: int) -> None:
            if k == 30:
                again.pipeline.reset()

        again = bound(folder, "control", **LATENCY)
        assert commands(thread, reset) == commands(again, reset_offline)
        again.close()
    finally:
        thread.close()


def test_the_black_box_of_a_lane_replays_to_the_bit(folder: Path) -> None:
    """The results are recorded, so the replay runs no model."""
    first = bound(folder, "thread")
    recorder = Recorder(first.pipeline, Memory(1 << 22), 60.0)
    first.pipeline.recorder = recorder

    def hear(k: int) -> None:
        time.sleep(0.002)
        if k == 40:
            first.pipeline.reset()

    fed = commands(first, hear)
    first.close()
    assert {decision for decision, _ in fed} >= {"RUN", "HOLD"}
    records = list(recorder.read())
    assert any(isinstance(one, State) for one in records)
    assert not any(isinstance(one, Received) for one in records)
    assert replayed(folder, recorder, records) == [True] * TICKS


def replayed(folder: Path, recorder: Recorder, records: list[Any], **given: Any) -> list[bool]:
    """Replay the records of `commands`; return per tick whether the command is the recorded one."""
    second = bound(folder, "control", **given)
    replay = Replay(second.pipeline, lambda _one: None, recorder.state.paths, False, "memory")
    equal = []
    for k, one in enumerate(replay.run(records)):
        equal.append(one.equal)  # at once: the command's array stays the same
        feed(second, k + 1, 10**9 + (k + 1) * 20 * MS)
    return equal


def test_a_tick_that_infers_and_commands_replays_to_the_bit(folder: Path) -> None:
    """In lockstep without a latency the result of a request counts in the request's tick."""
    given = {"inference.simulated_latency": 0.0, "inference.tolerance": 0.0}
    first = bound(folder, "control", **given)
    recorder = first.pipeline.recorder = Recorder(first.pipeline, Memory(1 << 22), 60.0)
    fed = commands(first)
    first.close()
    assert {decision for decision, _ in fed} == {"RUN"}
    assert replayed(folder, recorder, list(recorder.read()), **given) == [True] * TICKS


def test_a_stalled_tick_replays_to_the_bit(folder: Path) -> None:
    """The host stops the process within a tick: its inputs are too old at its end."""
    given = {"inference.simulated_latency": 0.0, "inference.tolerance": 0.0}
    first = bound(folder, "control", **given)
    recorder = first.pipeline.recorder = Recorder(first.pipeline, Memory(1 << 22), 60.0)
    now, stall_ns = 0, 0

    def clock() -> int:
        nonlocal now
        now += 1 + stall_ns
        return now

    def between(k: int) -> None:
        nonlocal stall_ns
        stall_ns = 244 * MS if k == 40 else 0

    first.pipeline.use_clock(clock)
    fed = commands(first, between, late_ns=5000 * MS)
    first.close()
    assert next(k for k, (decision, _) in enumerate(fed) if decision == "HOLD") == 40
    assert replayed(folder, recorder, list(recorder.read()), **given) == [True] * TICKS


def test_ticks_without_inputs_record_no_result_again(folder: Path) -> None:
    loaded = bound(folder, "control", **LATENCY)
    recorder = loaded.pipeline.recorder = Recorder(loaded.pipeline, Memory(1 << 22), 60.0)
    fed = commands(loaded)
    silent = [loaded.pipeline.stepper(10**9 + (TICKS + k) * 20 * MS) for k in range(TICKS)]
    loaded.close()
    assert "RUN" in {decision for decision, _ in fed}
    assert silent[-1].decision.name in ("HOLD", "SAFE_STOP")
    answers = [one.sequence for one in recorder.read() if isinstance(one, Answered)]
    assert len(answers) > 10
    assert len(set(answers)) == len(answers)
