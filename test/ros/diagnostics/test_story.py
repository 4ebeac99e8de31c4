"""Lines of the log: the text of each change and request, and the count of frequent changes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from policy_runner.core.safety.decision import Decision, Fault, Reason, Safety
from policy_runner.core.safety.operator_requests import Operator
from policy_runner.core.settings import CommandLimits, Settings

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="ROS 2 is not installed")
HOLD = Fault(Decision.HOLD, Reason.INPUT_STALE, "imu: 0.312 s old")
STOP = Fault(Decision.SAFE_STOP, Reason.TIPPED, "80 degrees")
SETTINGS = Settings(10_000_000, 1, {}, CommandLimits.none(1), hold_recover_ns=0)


class Log:
    """A logger with a clock that stands still."""

    def __init__(self) -> None:
        from policy_runner.ros.diagnostics.story import Story

        self.lines: list[tuple[str, str]] = []
        self.now_s = 0.0
        self.story = Story(self, lambda: 5.0, lambda: self.now_s)
        self.safety, self.operator = Safety(), Operator()

    def info(self, text: str) -> None:
        self.lines.append(("info", text))

    def warning(self, text: str) -> None:
        self.lines.append(("warning", text))

    def error(self, text: str) -> None:
        self.lines.append(("error", text))

    def judge(self, *faults: Fault | None) -> None:
        for fault in faults:
            self.safety.judge(0, fault, SETTINGS)

    def told(self) -> list[tuple[str, str]]:
        self.story.tell(self.safety, self.operator)
        lines, self.lines = self.lines, []
        return lines


def test_every_change_is_a_line_with_its_reason() -> None:
    log = Log()
    log.judge(Fault(Decision.HOLD, Reason.INPUT_MISSING, "imu: no message yet"))
    log.judge(None, HOLD, HOLD, None, STOP, None)
    log.safety.arm()
    log.judge(None)
    assert log.told() == [
        ("info", "STARTING: input never seen: imu: no message yet"),
        ("info", "RUN: the policy commands"),
        ("warning", "HOLD: input too old: imu: 0.312 s old"),
        ("info", "RUN again, after HOLD: input too old"),
        ("error", "SAFE_STOP: robot tipped: 80 degrees"),
        ("info", "RUN again, after SAFE_STOP: robot tipped"),
    ]
    assert log.told() == []


def test_requests_and_the_emergency_stop_are_lines() -> None:
    log = Log()
    log.operator.hear_estop(True)
    log.operator.hear_estop(False)
    log.story.answered("~/arm", False, "not armed: input too old: imu: 0.3 s old")
    log.story.answered("~/arm", True, "armed")
    assert log.told() == [
        ("warning", "~/arm: not armed: input too old: imu: 0.3 s old"),
        ("info", "~/arm: armed"),
        ("warning", "emergency stop pressed: ~/estop"),
        ("warning", "emergency stop released: ~/estop; ~/arm is needed"),
    ]


def test_a_flapping_decision_is_a_few_lines_and_then_a_count_with_the_present_one() -> None:
    log = Log()
    for _ in range(50):
        log.judge(None, HOLD)
    assert len(log.told()) == 10
    log.judge(None)
    assert log.told() == []
    log.now_s = 5.0
    assert log.told() == [("warning", "91 further changes of the decision; now RUN")]
    log.judge(HOLD)
    assert log.told() == [("warning", "HOLD: input too old: imu: 0.312 s old")]


def test_changes_that_the_record_has_dropped_are_counted() -> None:
    log = Log()
    for _ in range(500):
        log.judge(None, HOLD)
    assert len(log.told()) == 10
    log.now_s = 5.0
    assert log.told()[0][1].startswith("990 further changes of the decision; now HOLD: input")


def test_a_flapping_decision_hides_no_emergency_stop() -> None:
    log = Log()
    for _ in range(50):
        log.judge(None, HOLD)
    log.told()
    log.operator.hear_estop(True)
    assert log.told() == [("warning", "emergency stop pressed: ~/estop")]


def test_another_policy_continues_and_a_new_one_begins_its_own_story() -> None:
    log = Log()
    log.judge(None)
    log.told()
    log.safety = Safety()
    log.judge(HOLD, None)
    assert [text for _, text in log.told()] == [
        "STARTING: input too old: imu: 0.312 s old",
        "RUN: the policy commands",
    ]


def test_findings_are_lines_when_they_come_and_when_they_go() -> None:
    log = Log()

    def found(*sentences: str) -> list[tuple[str, str]]:
        log.story.found("inputs", sentences)
        return log.told()

    assert found() == []
    assert found("a", "b") == [("warning", "a"), ("warning", "b")]
    assert found("a", "b") == []
    assert found("b", "c") == [("warning", "c")]
    assert found() == [("info", "resolved: b; c")]
    texts: list[Any] = [found(str(k)) for k in range(100)]
    assert sum(map(len, texts)) < 15
