"""Changes kept for the log: each change of the decision or reason once, in a bounded list."""

from __future__ import annotations

from test_safety_decision import HOLD, STOP, _Course

from policy_runner.core.safety.decision import Decision, Fault, Reason


def taken(course: _Course) -> list[tuple[str, str]]:
    """Take the waiting changes; return each as decision and reason."""
    found = [(c.decision.value, c.reason.value) for c in course.safety.changes]
    course.safety.changes.clear()
    return found


def test_each_change_is_kept_once_with_what_was_before() -> None:
    course = _Course()
    missing = Fault(Decision.HOLD, Reason.INPUT_MISSING, "imu: no message yet")
    for fault in (missing, missing, None, None, HOLD, HOLD, STOP, STOP):
        course.judge(fault)
    changes = list(course.safety.changes)
    assert [(c.before, c.decision, c.reason) for c in changes] == [
        (None, Decision.STARTING, Reason.INPUT_MISSING),
        (Decision.STARTING, Decision.RUN, Reason.NONE),
        (Decision.RUN, Decision.HOLD, Reason.INPUT_STALE),
        (Decision.HOLD, Decision.SAFE_STOP, Reason.TIPPED),
    ]
    assert changes[2].detail == HOLD.detail
    assert changes[3].before_reason is Reason.INPUT_STALE
    assert course.safety.changed == 4


def test_another_reason_is_a_change_and_another_detail_is_none() -> None:
    course = _Course()
    course.judge()
    course.judge(HOLD)
    taken(course)
    course.judge(HOLD._replace(detail="imu: 0.4 s old"))
    assert taken(course) == []
    course.judge(Fault(Decision.HOLD, Reason.STAMP, "imu: the header stamp is 0"))
    assert taken(course) == [("HOLD", "header stamp")]


def test_a_start_after_activation_or_a_jump_of_time_is_a_change() -> None:
    course = _Course()
    course.judge()
    taken(course)
    course.safety.time_jumped()
    course.judge(Fault(Decision.HOLD, Reason.INPUT_MISSING))
    assert taken(course) == [("STARTING", "input never seen")]
    course.safety.activate(armed=True)
    course.judge(Fault(Decision.HOLD, Reason.INPUT_MISSING))
    assert taken(course) == [("STARTING", "input never seen")]
    course.safety.disarm()
    assert taken(course) == [("STARTING", "not armed")]


def test_the_record_is_bounded_and_counts_what_it_has_dropped() -> None:
    course = _Course(hold_recover_ns=0)
    for _ in range(2000):
        course.judge(HOLD)
        course.judge()
    assert len(course.safety.changes) < 300
    assert course.safety.changed == 4000
    assert course.safety.changes[-1].decision is Decision.RUN
