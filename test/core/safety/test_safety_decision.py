"""STARTING, RUN, HOLD with hysteresis, latching SAFE_STOP; arming; a HOLD that lasts too long."""

from __future__ import annotations

from typing import Any

import pytest
from core_rig import MS
from hypothesis import given
from hypothesis import strategies as st

from policy_runner.core.safety.decision import Decision, Fault, Reason, Safety
from policy_runner.core.settings import CommandLimits, Settings

HOLD = Fault(Decision.HOLD, Reason.INPUT_STALE, "imu: 0.3 s old")
STOP = Fault(Decision.SAFE_STOP, Reason.TIPPED, "80 degrees")


def _settings(**changes: Any) -> Settings:
    keys: dict[str, Any] = {"hold_recover_ns": 200 * MS, **changes}
    return Settings(10 * MS, 1, {}, CommandLimits.none(1), **keys)


class _Course:
    """A `Safety` that judges every 10 ms."""

    def __init__(self, **settings: Any) -> None:
        self.safety = Safety()
        self.settings = _settings(**settings)
        self.now_ns = 0

    def judge(self, fault: Fault | None = None) -> Decision:
        self.now_ns += 10 * MS
        return self.safety.judge(self.now_ns, fault, self.settings)

    def ticks_until(self, decision: Decision, fault: Fault | None = None) -> int:
        for count in range(1, 1000):
            if self.judge(fault) is decision:
                return count
        raise AssertionError(f"never {decision}")


def test_starts_when_all_is_there() -> None:
    course = _Course()
    missing = Fault(Decision.HOLD, Reason.INPUT_MISSING, "imu: no message yet")
    assert [course.judge(missing) for _ in range(3)] == [Decision.STARTING] * 3
    assert (course.safety.reason, course.safety.detail) == (missing.reason, missing.detail)
    assert course.judge() is Decision.RUN  # nothing ran yet, so `hold_recover` does not apply
    assert (course.safety.reason, course.safety.detail) == (Reason.NONE, "")
    assert (course.safety.holds, course.safety.safe_stops) == (0, 0)


def test_time_that_jumps_back_makes_a_safe_stop_wait_no_longer_than_it_should() -> None:
    course = _Course()
    course.judge()
    course.judge(STOP)
    course.now_ns += 10_000 * MS
    course.safety.arm()
    course.judge()
    course.now_ns = 0
    course.safety.time_jumped()
    assert course.safety.decision is Decision.SAFE_STOP
    assert course.ticks_until(Decision.RUN) == 21
    course.safety.time_jumped()
    assert course.safety.decision is Decision.STARTING


def test_hold_recovers_when_all_was_well_for_a_while() -> None:
    course = _Course()
    course.judge()
    assert course.judge(HOLD) is Decision.HOLD
    assert course.safety.reason is Reason.INPUT_STALE
    assert course.ticks_until(Decision.RUN) == 21  # first tick without a fault, 200 ms after it
    assert course.safety.holds == 1


def test_hold_starts_settling_anew_with_every_fault() -> None:
    course = _Course()
    course.judge()
    course.judge(HOLD)
    for _ in range(10):
        assert [course.judge() for _ in range(19)] == [Decision.HOLD] * 19
        assert course.judge(HOLD) is Decision.HOLD
    assert course.safety.holds == 1
    assert course.ticks_until(Decision.RUN) == 21


def test_safe_stop_latches_until_armed() -> None:
    course = _Course()
    course.judge()
    assert course.judge(STOP) is Decision.SAFE_STOP
    assert [course.judge() for _ in range(100)] == [Decision.SAFE_STOP] * 100
    assert (course.safety.reason, course.safety.detail) == (STOP.reason, STOP.detail)
    course.safety.arm()
    assert course.judge() is Decision.RUN  # it had no fault for a long time
    assert course.judge(STOP) is Decision.SAFE_STOP
    assert [course.judge() for _ in range(100)] == [Decision.SAFE_STOP] * 100
    assert course.safety.safe_stops == 2


def test_armed_just_after_the_fault_settles_first() -> None:
    course = _Course()
    course.judge()
    course.judge(STOP)
    course.safety.arm()
    assert course.ticks_until(Decision.RUN) == 21


def test_arming_a_robot_that_still_lies_there_does_not_wait_for_it_to_be_lifted() -> None:
    course = _Course()
    course.judge()
    course.judge(STOP)
    course.safety.arm()
    assert course.judge(STOP) is Decision.SAFE_STOP
    assert [course.judge() for _ in range(100)] == [Decision.SAFE_STOP] * 100


def test_arming_beforehand_arms_nothing() -> None:
    course = _Course()
    course.judge()
    course.safety.arm()
    course.judge()
    course.judge(STOP)
    assert [course.judge() for _ in range(100)] == [Decision.SAFE_STOP] * 100


def test_recovers_by_itself_where_told_so() -> None:
    course = _Course(recover="auto")
    course.judge()
    course.judge(STOP)
    assert course.ticks_until(Decision.RUN) == 21
    assert course.safety.safe_stops == 1


def test_the_first_reason_of_a_safe_stop_stays() -> None:
    course = _Course()
    course.judge(STOP)
    course.judge(HOLD)
    assert course.safety.reason is Reason.TIPPED


def test_held_too_long() -> None:
    course = _Course(safe_stop_after_ns=100 * MS)
    course.judge()
    assert course.ticks_until(Decision.SAFE_STOP, HOLD) == 11
    assert course.safety.reason is Reason.HELD_TOO_LONG
    assert course.safety.detail == HOLD.detail
    assert (course.safety.holds, course.safety.safe_stops) == (1, 1)


def test_held_long_in_parts_counts_from_the_last_run() -> None:
    course = _Course(safe_stop_after_ns=100 * MS, hold_recover_ns=0)
    course.judge()
    for _ in range(5):
        assert [course.judge(HOLD) for _ in range(9)] == [Decision.HOLD] * 9
        assert course.judge() is Decision.RUN


def test_safe_stop_also_from_starting_and_hold() -> None:
    course = _Course()
    assert course.judge(STOP) is Decision.SAFE_STOP
    course.safety.reset()
    assert course.judge() is Decision.RUN
    course.judge(HOLD)
    assert course.judge(STOP) is Decision.SAFE_STOP


def test_reset_forgets_what_was_latched_and_armed() -> None:
    course = _Course()
    course.judge(STOP)
    course.safety.arm()
    course.safety.reset()
    assert course.safety.decision is Decision.STARTING
    assert course.judge(STOP) is Decision.SAFE_STOP
    assert [course.judge() for _ in range(100)] == [Decision.SAFE_STOP] * 100


FAULTS = st.sampled_from([None, None, None, HOLD, STOP, "arm"])


@given(st.lists(FAULTS, max_size=80), st.sampled_from(["armed", "auto"]))
def test_laws(events: list[Any], recover: str) -> None:
    course = _Course(recover=recover, hold_recover_ns=30 * MS)
    before, armed, well = Decision.STARTING, False, 0
    for event in events:
        if event == "arm":
            course.safety.arm()
            armed = True
            continue
        after = course.judge(event)
        well = 0 if event else well + 1
        assert (after is Decision.RUN) <= (event is None)
        assert after is not Decision.STARTING or before is Decision.STARTING
        if event is STOP:
            assert after is Decision.SAFE_STOP
        if before is Decision.SAFE_STOP and after is Decision.RUN:
            assert armed or recover == "auto"
        if before in (Decision.HOLD, Decision.SAFE_STOP) and after is Decision.RUN:
            assert well >= 4
        if event is not None or after is Decision.RUN:
            armed = False
        before = after


@pytest.mark.parametrize("decision", list(Decision))
def test_decisions_are_called_what_diagnostics_shows(decision: Decision) -> None:
    assert decision.value == decision.name
