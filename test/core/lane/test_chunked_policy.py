"""The control thread's side of a lane: which results are played, and what it says meanwhile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from core_rig import MS
from fake_lane import STEPS, lane_rig, ramp

from policy_runner.core.lane.interface import LaneEvent
from policy_runner.core.safety.decision import Decision, Fault, Reason

PLAYED = 20  # ticks of a chunk: 10 actions of 20 ms, every 10 ms


def test_it_starts_with_the_first_result_and_holds_when_the_chunk_ends(tmp_path: Path) -> None:
    rig = lane_rig(tmp_path)
    assert rig.step().command is None
    assert rig.said() == "STARTING: no fresh action: the inference has been running for 0.00 s"
    rig.lane.answer(ramp(0.0))
    assert rig.step().decision is Decision.RUN
    # The observation was one tick before, so 19 ticks of the chunk are left.
    assert rig.step(PLAYED - 2).decision is Decision.RUN
    ended = rig.step()
    assert ended.decision is Decision.HOLD
    assert ended.command is not None
    assert rig.said() == "HOLD: no fresh action: the inference has been running for 0.19 s"
    assert rig.policy.report.starved == 1


def test_the_played_action_belongs_to_the_time_of_the_observation(tmp_path: Path) -> None:
    rig = lane_rig(tmp_path, {"seam": {"method": "replace"}})
    rig.step(3)
    observed = rig.lane.requests[0].observed_ns
    rig.lane.answer(ramp(0.0, 0.1))
    rig.measured = [0.0, 0.0]
    step = rig.step(6)  # the fade of the start has ended
    expected = 0.1 * (rig.now_ns - observed) / (20 * MS)
    assert step.command is not None
    assert rig.policy.report.at_index == pytest.approx((rig.now_ns - observed) / (20 * MS))
    assert step.command.max() <= expected


def test_one_request_at_a_time_as_soon_as_the_lane_is_free(tmp_path: Path) -> None:
    rig = lane_rig(tmp_path)
    rig.step(5)
    assert len(rig.lane.requests) == 1
    rig.lane.answer(ramp(0.0))
    rig.step()
    assert len(rig.lane.requests) == 2
    assert rig.lane.requests[1].observed_ns == rig.now_ns
    assert [one.fresh for one in rig.lane.requests] == [True, False]
    assert rig.lane.requests[1].latency_ns == 50 * MS


def test_every_and_at_remaining(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    every = lane_rig(tmp_path / "a", start="every", every_ns=60 * MS)
    remaining = lane_rig(tmp_path / "b", start="at_remaining", remaining_ns=100 * MS)
    for rig in (every, remaining):
        rig.step()
        answered = 0
        for _ in range(24):
            if len(rig.lane.requests) > answered:
                rig.lane.answer(ramp(0.0))
                answered += 1
            rig.step()
    gaps = np.diff([one.observed_ns for one in every.lane.requests]) / MS
    assert set(gaps) == {60.0}
    gaps = np.diff([one.observed_ns for one in remaining.lane.requests]) / MS
    assert set(gaps) == {110.0}  # one tick after 100 ms are left


def test_results_from_before_an_arming_are_not_played(tmp_path: Path) -> None:
    rig = lane_rig(tmp_path, settings={"require_arming": True})
    rig.step(3)
    assert not rig.lane.requests  # without arming nothing is inferred
    answers: list[str] = []

    def told(_granted: bool, text: str) -> bool:
        answers.append(text)
        return True

    rig.pipeline.operator.ask_to_arm(told)
    rig.step()
    assert answers == ["armed"]
    rig.pipeline.operator.disarm(rig.pipeline.safety)
    rig.step()
    rig.pipeline.operator.ask_to_arm(told)
    rig.step()
    rig.lane.answer(ramp(9.0))  # of the observation before it was disarmed
    assert rig.step().decision is Decision.STARTING
    rig.step()
    rig.lane.answer(ramp(0.0))
    assert rig.step().decision is Decision.RUN


@pytest.mark.parametrize("how", ["reset", "time_jumped", "stop"])
def test_results_from_before_a_reset_are_not_played(tmp_path: Path, how: str) -> None:
    rig = lane_rig(tmp_path, settings={"recover": "auto"})
    rig.step()
    rig.lane.answer(ramp(0.0))
    assert rig.step().decision is Decision.RUN
    if how == "reset":
        rig.pipeline.reset()
        assert "retry" in rig.lane.calls
    elif how == "time_jumped":
        rig.pipeline.time_jumped(forget_inputs=False)
        rig.now_ns -= 500 * MS
    else:
        rig.pipeline.step(rig.now_ns, Fault(Decision.SAFE_STOP, Reason.TIPPED, "as asked"))
    rig.lane.answer(ramp(9.0))
    assert rig.step().decision is not Decision.RUN
    assert rig.policy.report.taken == 1
    rig.step()
    assert rig.lane.requests[-1].fresh
    rig.lane.answer(ramp(0.0))
    step = rig.step(2)
    assert step.decision is Decision.RUN, rig.said()
    assert step.command is not None
    assert step.command.max() < 0.1


def test_arming_after_a_stop_waits_for_the_next_result(tmp_path: Path) -> None:
    """The request stays valid while the lane infers, and is refused while the lane has failed."""
    rig = lane_rig(tmp_path)
    rig.step()
    rig.lane.answer(None, why="the model's output", of_action=True)
    rig.step()
    assert rig.said() == "SAFE_STOP: action not finite: the model's output"
    answers: list[str] = []

    def told(_granted: bool, text: str) -> bool:
        answers.append(text)
        return True

    rig.lane.events.append(LaneEvent("failed", why="process ended"))
    rig.step()
    rig.pipeline.operator.ask_to_arm(told)
    rig.step()
    assert answers == ["not armed: inference failed: the inference process ended"]
    rig.lane.events.append(LaneEvent("ready"))
    rig.step()
    rig.pipeline.operator.ask_to_arm(told)
    rig.step(4)
    assert answers[1].startswith("armed")
    assert rig.pipeline.safety.decision is Decision.SAFE_STOP
    rig.lane.answer(ramp(0.0))
    assert rig.step().decision is Decision.RUN


def test_a_hanging_inference_is_given_up(tmp_path: Path) -> None:
    rig = lane_rig(tmp_path, timeout_ns=100 * MS)
    rig.step()
    rig.lane.answer(ramp(0.0))
    rig.step(12)
    assert rig.lane.calls[-1] == "give up: no result for 0.1 s"
    assert rig.pipeline.safety.decision is Decision.RUN  # the rest of the chunk is played
    rig.step(12)
    assert rig.said() == "HOLD: inference failed: the inference hangs: no result for 0.1 s"
    rig.lane.answer(ramp(9.0))  # too late
    rig.step()
    assert rig.pipeline.safety.decision is Decision.HOLD
    rig.lane.events.append(LaneEvent("ready"))
    rig.step()
    assert rig.lane.requests[-1].observed_ns == rig.now_ns
    rig.lane.answer(ramp(0.0))
    assert rig.step().decision is Decision.RUN
    assert rig.policy.requests.failures == 1


def test_a_result_counts_after_its_simulated_latency(tmp_path: Path) -> None:
    rig = lane_rig(tmp_path, simulated_latency_ns=50 * MS, waits_s=1.0)
    rig.step()
    rig.lane.answer(ramp(0.0))
    assert rig.step(4).decision is Decision.STARTING
    assert "wait" not in rig.lane.calls
    assert rig.step().decision is Decision.RUN
    rig.step(4)
    assert "wait" not in rig.lane.calls
    rig.step()  # 50 ms after its start the next inference has no result yet: lockstep waits
    assert "wait" in rig.lane.calls


def test_a_chunk_that_is_too_old_or_not_finite_is_said(tmp_path: Path) -> None:
    rig = lane_rig(tmp_path)
    rig.step(PLAYED + 2)
    rig.lane.answer(ramp(0.0))
    rig.step()
    assert rig.said() == (
        "STARTING: no fresh action: its observation is 0.220 s old, and it is only 0.200 s long"
    )
    rig.lane.answer(None, why="obs: the position of a is nan")
    rig.step()
    assert rig.said() == "STARTING: no fresh action: obs: the position of a is nan"
    assert rig.policy.unusable == 1


@pytest.mark.parametrize(("failing_ms", "fresh"), [(400, False), (700, True)])
def test_after_long_failures_the_recurrent_state_starts_over(
    tmp_path: Path, failing_ms: int, fresh: bool
) -> None:
    """As after any interruption longer than `reset_after_ns`; a short one keeps the state."""
    rig = lane_rig(tmp_path, reset_after_ns=500 * MS)
    rig.step()
    rig.lane.answer(ramp(0.0))
    rig.step()
    for _ in range(failing_ms // 10):
        rig.lane.answer(None, why="the server is lost")
        rig.step()
    assert rig.said() == "HOLD: no fresh action: the server is lost"
    assert rig.lane.requests[-1].fresh == fresh
    rig.lane.answer(ramp(0.0))
    rig.step()
    assert not rig.lane.requests[-1].fresh


def test_inputs_of_different_times_are_no_observation(tmp_path: Path) -> None:
    rig = lane_rig(tmp_path, tolerance_ns=30 * MS)
    slot = rig.pipeline.slots["joints"]
    rig.policy.requests._slots = [slot, type("Old", (), {"oldest_ns": rig.now_ns - 100 * MS})()]
    rig.step(3)
    assert not rig.lane.requests
    assert "different times, 0.130 s apart" in rig.said()
    assert rig.policy.requests.apart == 3


def test_without_chunks_an_action_is_valid_until_the_next_is_overdue(tmp_path: Path) -> None:
    rig = lane_rig(tmp_path, {}, every_ns=10 * MS)
    rig.step()
    rig.lane.answer([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    step = rig.step()
    assert step.command is not None
    assert step.command.tolist() == [5.0, 6.0]
    decoder = rig.policy.decoder
    assert [one.tolist() for one in (decoder.raw, decoder.clipped)] == [[1.0, 2.0], [3.0, 4.0]]
    assert rig.step().decision is Decision.RUN
    assert rig.step().decision is Decision.HOLD  # 20 ms, two periods, after it came


def test_the_first_command_fades_from_the_measured_position(tmp_path: Path) -> None:
    rig = lane_rig(tmp_path)
    rig.measured = [0.4, -0.4]
    rig.step()
    rig.lane.answer(ramp(0.0))
    step = rig.step()
    assert step.command is not None
    # The default catch-up rate of 1 rad/s, for one tick of 10 ms.
    assert np.abs(step.command - rig.measured).max() <= 0.01 + 1e-9


def test_after_an_interruption_the_old_chunk_is_gone(tmp_path: Path) -> None:
    rig = lane_rig(tmp_path, reset_after_ns=50 * MS)
    rig.step()
    rig.lane.answer(ramp(0.0))
    rig.step()
    rig.step(11, fed=False)  # joints too old: HOLD; the chunk is not asked for
    assert rig.pipeline.safety.reason is Reason.INPUT_STALE
    rig.step(6, fed=False)
    step = rig.step()
    assert step.decision is Decision.HOLD
    assert rig.pipeline.safety.reason is Reason.NO_ACTION
    assert len(ramp(0.0)) == STEPS


def test_the_move_to_the_start_pose_comes_once_and_then_the_first_chunk(tmp_path: Path) -> None:
    rig = lane_rig(tmp_path, settings={"start_pose_ns": 50 * MS, "start_pose_tolerance": 0.1})
    seen = []
    for _ in range(20):
        rig.step()
        seen.append(rig.pipeline.safety.reason)
        if len(rig.lane.requests) == 1 and seen.count(Reason.NO_ACTION) == 3:
            rig.lane.answer(ramp(0.0))
    moved = seen.count(Reason.MOVING)
    assert moved >= 5
    assert seen == [Reason.MOVING] * moved + [Reason.NO_ACTION] * 3 + [Reason.NONE] * (17 - moved)
