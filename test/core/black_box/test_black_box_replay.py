"""A recorded pipeline, computed again from the memory: every command is the same, to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from black_box_rig import Recorded
from core_rig import MS

from policy_runner.core.black_box.pipeline_recorder import same
from policy_runner.core.black_box.records import State, Tick
from policy_runner.core.safety.decision import Decision, Fault, Reason

GUARD = Fault(Decision.HOLD, Reason.GUARD_ACTED, "as asked")


def test_the_replay_gives_every_command_to_the_bit(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    box.run(200)
    found = box.replay()
    assert len(found) == 200
    assert all(one.equal for one in found)
    assert all(same(one.command, was) for one, was in zip(found, box.commands, strict=True))


def test_the_replay_begins_at_the_oldest_state_that_is_left(tmp_path: Path) -> None:
    box = Recorded(tmp_path, seconds=1.0)
    box.run(1000)
    found = box.replay()
    assert 100 <= len(found) < 200  # at least the second that was asked for, and bounded
    assert all(one.equal for one in found)
    states = [one for one in box.recorder.read() if isinstance(one, State)]
    assert len(states) > 3  # the whole state, several times in that second


def test_another_message_gives_another_command(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    box.run(50)
    records = list(box.recorder.read())
    k = next(k for k, one in enumerate(records) if hasattr(one, "raw") and k > 30)
    changed = np.frombuffer(records[k].raw) + 1e-3  # type: ignore[union-attr]
    records[k] = records[k]._replace(raw=changed.tobytes())  # type: ignore[union-attr]
    assert not all(one.equal for one in box.replay(records))


@pytest.mark.parametrize("left_out", ["_frames", "inputs[state]"])
def test_a_state_without_one_of_its_parts_is_seen(tmp_path: Path, left_out: str) -> None:
    """The state is complete: whichever part is wrong, the replay differs."""
    box = Recorded(tmp_path, seconds=1.0)
    box.run(300)
    records = list(box.recorder.read())
    first = next(one for one in records if isinstance(one, State))
    records = [one for one in records if not isinstance(one, State)]
    values = list(first.values)
    paths = box.recorder.state.paths
    for k, path in enumerate(paths):
        if left_out in path and isinstance(values[k], tuple) and values[k][0] == "a":
            letter, dtype, shape, data = values[k]
            if dtype == "<f8" or dtype == "<f4":
                values[k] = (letter, dtype, shape, (np.frombuffer(data, dtype) + 1).tobytes())
    assert not all(one.equal for one in box.replay([first._replace(values=values), *records]))


def test_what_an_operator_does_is_replayed(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    pipeline = box.rig.pipeline
    box.run(20)
    pipeline.operator.hear_estop(True, 0)
    box.run(5, 21, 1)
    pipeline.operator.hear_estop(False, 0)
    pipeline.operator.ask_to_arm(lambda accepted, text: True)
    box.run(20, 26, 2)
    pipeline.reset()
    box.run(20, 46, 3)
    pipeline.operator.disarm(pipeline.safety)
    box.run(5, 66, 4)
    pipeline.operator.ask_to_arm(lambda accepted, text: True)
    box.run(20, 71, 5)
    pipeline.stopped_by_guard()
    box.run(3, 91, 6, outer=GUARD)
    box.run(20, 94, 7)
    pipeline.settings = replace(pipeline.settings, blend_in_ns=50 * MS)
    box.run(20, 114, 8)
    pipeline.refuse(1340 * MS, Fault(Decision.SAFE_STOP, Reason.COMMAND_REFUSED, "as asked"))
    box.run(20, 134, 9)
    pipeline.time_jumped(forget_inputs=True)
    box.run(20, 10, 10)
    pipeline.stop_command()
    found = box.replay()
    assert all(one.equal for one in found)
    decisions = [one.decision for one in box.recorder.read() if isinstance(one, Tick)]
    assert {Decision.RUN, Decision.HOLD, Decision.SAFE_STOP} <= set(decisions)
    assert decisions[-1] is Decision.RUN
    assert box.recorder.stops == 3
    assert box.recorder.lost == 0


def test_late_inferences_are_replayed_with_their_durations(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    times = iter(range(10**9))
    slow = [False]

    def clock() -> int:
        return next(times) * (20 * MS if slow[0] else 1)

    box.rig.pipeline.use_clock(clock)
    box.run(10)
    slow[0] = True
    box.run(10, 11, 1)
    found = box.replay()
    assert all(one.equal for one in found)
    assert any(
        isinstance(one, Tick) and one.reason is Reason.INFERENCE_LATE for one in box.recorder.read()
    )


def test_a_reader_pauses_the_record_and_the_rest_is_replayed(tmp_path: Path) -> None:
    box = Recorded(tmp_path, seconds=0.4)
    box.run(100)
    reader = box.recorder.read()
    first = next(reader)
    box.run(100, 101, 1)  # several times the memory
    held = [first, *reader]
    assert all(one.equal for one in box.replay(held))
    assert box.recorder.lost > 0
    box.run(100, 201, 2)
    found = box.replay()
    assert all(one.equal for one in found)
    assert found[-1].now_ns == 300 * 10 * MS
