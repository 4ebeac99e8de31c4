"""Arming, disarming and the emergency stop: the operator has priority, no start by itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, Rig, make_rig, spec_content, term

from policy_runner.core.safety.decision import Decision, Reason
from policy_runner.core.settings import CommandLimits, InputRule


class Asked:
    """A caller of ~/arm."""

    def __init__(self, wants: bool = True) -> None:
        self.wants = wants
        self.answers: list[tuple[bool, str]] = []

    def __call__(self, accepted: bool, message: str) -> bool:
        self.answers.append((accepted, message))
        return self.wants


class Course:
    """A pipeline with new inputs and a tick every 10 ms."""

    def __init__(self, folder: Path, kind: str = "velocity", **settings: Any) -> None:
        terms = [term("joint_position", input="joints"), term("joint_velocity", input="joints")]
        content = spec_content(
            observation=[{"tensor": "obs", "terms": terms, "normalization": "none"}],
            action=[{"tensor": "act", "groups": [{"kind": kind, "joints": ["a", "b"]}]}],
        )
        compute = lambda _: {"act": 2.0}  # noqa: E731
        self.rig: Rig = make_rig(folder, content, size=4, compute=compute, **settings)
        self.pipeline = self.rig.pipeline
        self.safety = self.pipeline.safety
        self.now_ns = 0
        self.position, self.feeds = [0.0, 0.0], True

    def step(self) -> list[float] | None:
        self.now_ns += 10 * MS
        if self.feeds:
            velocity = [0.0, 0.0]
            self.rig.joints(
                "joints", self.now_ns, ["a", "b"], position=self.position, velocity=velocity
            )
        command = self.pipeline.step(self.now_ns).command
        return None if command is None else command.tolist()

    def arm(self, wants: bool = True) -> tuple[bool, str]:
        asked = Asked(wants)
        self.pipeline.operator.ask_to_arm(asked)
        self.step()
        assert len(asked.answers) == 1
        return asked.answers[0]

    @property
    def state(self) -> tuple[Decision, Reason]:
        return self.safety.decision, self.safety.reason


NOT_ARMED = (Decision.STARTING, Reason.NOT_ARMED)
RUN = (Decision.RUN, Reason.NONE)
STOPPED = (Decision.SAFE_STOP, Reason.OPERATOR_STOP)


def test_nothing_is_commanded_until_it_is_armed(tmp_path: Path) -> None:
    course = Course(tmp_path, require_arming=True)
    assert [course.step() for _ in range(50)] == [None] * 50
    assert course.state == NOT_ARMED
    assert course.arm() == (True, "armed")
    assert course.state == RUN
    assert course.step() == [2, 2]
    course.pipeline.activate()
    course.step()
    assert course.state == NOT_ARMED


def test_unarmed_it_says_what_else_is_wrong_and_stays_starting(tmp_path: Path) -> None:
    course = Course(tmp_path, require_arming=True)
    course.feeds = False
    assert course.step() is None
    assert course.state == NOT_ARMED
    assert course.safety.detail == "input never seen: joints: no message yet"
    accepted, why = course.arm()
    assert (accepted, why) == (False, "not armed: input never seen: joints: no message yet")
    course.feeds = True
    assert [course.step() for _ in range(5)] == [None] * 5  # the earlier request did not arm


def test_arming_that_nobody_waits_for_any_more_arms_nothing(tmp_path: Path) -> None:
    course = Course(tmp_path, require_arming=True)
    course.arm(wants=False)
    assert course.state == NOT_ARMED


def test_disarmed_while_it_runs_stops_and_does_not_recover_by_itself(tmp_path: Path) -> None:
    course = Course(tmp_path, recover="auto")
    assert course.step() == [2, 2]
    course.safety.disarm()
    assert [course.step() for _ in range(20)] == [[0, 0]] * 20
    assert course.state == (Decision.SAFE_STOP, Reason.DISARMED)
    assert course.arm()[0]
    course.step()
    assert course.state == RUN


def test_disarmed_before_it_ran(tmp_path: Path) -> None:
    course = Course(tmp_path)
    course.safety.disarm()
    assert [course.step() for _ in range(3)] == [None] * 3
    assert course.state == NOT_ARMED


@pytest.mark.parametrize("recover", ["armed", "auto"])
@pytest.mark.parametrize("armed", [True, False])
def test_an_emergency_stop_stops_in_the_same_tick_and_latches(
    tmp_path: Path, recover: str, armed: bool
) -> None:
    course = Course(tmp_path, recover=recover, require_arming=not armed)
    assert course.step() == ([2, 2] if armed else None)
    course.pipeline.operator.hear_estop(True)
    assert course.step() == [0, 0]
    assert course.state == STOPPED
    assert course.arm() == (False, "not armed: operator stop: ~/estop")
    course.pipeline.operator.hear_estop(False)
    assert [course.step() for _ in range(20)] == [[0, 0]] * 20
    assert course.state == STOPPED
    assert course.arm()[0]
    course.step()
    assert course.state == RUN


def test_a_stop_that_is_let_go_of_before_the_tick_counts(tmp_path: Path) -> None:
    course = Course(tmp_path)
    course.step()
    course.pipeline.operator.hear_estop(True)
    course.pipeline.operator.hear_estop(False)
    assert course.step() == [0, 0]
    assert course.state == STOPPED
    assert course.pipeline.operator.latched
    assert course.arm()[0]


def test_a_stop_outlives_activation_while_it_is_pressed(tmp_path: Path) -> None:
    course = Course(tmp_path)
    course.pipeline.operator.hear_estop(True)
    course.pipeline.activate()
    course.step()
    assert course.state == STOPPED


def test_a_stop_that_nobody_armed_after_outlives_activation_and_another_policy(
    tmp_path: Path,
) -> None:
    course = Course(tmp_path)
    course.step()
    operator = course.pipeline.operator
    operator.hear_estop(True)
    course.step()
    operator.hear_estop(False)
    course.pipeline.activate()
    assert [course.step() for _ in range(50)] == [None] * 50
    assert course.state == NOT_ARMED
    other = Course(tmp_path)
    other.pipeline.operator = operator
    other.pipeline.activate()
    assert other.step() is None
    assert other.state == NOT_ARMED
    assert other.arm() == (True, "armed")
    assert other.state == RUN
    other.pipeline.activate()
    other.step()
    assert other.state == RUN  # the stop was released and armed, so it has ended


def test_a_refused_arming_lets_go_of_no_emergency_stop(tmp_path: Path) -> None:
    course = Course(tmp_path)
    course.pipeline.operator.hear_estop(True)
    course.step()
    course.pipeline.operator.hear_estop(False)
    course.feeds = False
    course.now_ns += 200 * MS
    assert not course.arm()[0]
    course.feeds = True
    course.pipeline.activate()
    course.step()
    assert course.state == NOT_ARMED


def test_armed_is_said_only_of_what_needs_no_arming(tmp_path: Path) -> None:
    course = Course(tmp_path, require_arming=True, hold_recover_ns=50 * MS)
    said = []
    course.step()
    said.append(course.safety.is_armed)
    course.arm()
    said.append(course.safety.is_armed)
    course.now_ns += 200 * MS
    course.feeds = False
    course.step()
    said.append(course.safety.is_armed)  # HOLD recovers by itself
    course.feeds = True
    course.pipeline.operator.hear_estop(True)
    course.step()
    course.pipeline.operator.hear_estop(False)
    course.step()
    said.append(course.safety.is_armed)
    course.arm()
    said.append(course.safety.is_armed)
    assert said == [False, True, True, False, True]
    assert course.safety.decision is Decision.SAFE_STOP  # for hold_recover


@pytest.mark.parametrize("recover", ["armed", "auto"])
def test_a_safe_stop_says_whether_it_waits_for_arming(tmp_path: Path, recover: str) -> None:
    rules = {"joints": InputRule(100 * MS, "safe_stop")}
    course = Course(tmp_path, recover=recover, inputs=rules)
    course.step()
    course.feeds = False
    course.now_ns += 200 * MS
    course.step()
    assert course.state == (Decision.SAFE_STOP, Reason.INPUT_STALE)
    assert course.safety.is_armed == (recover == "auto")
    course.safety.arm()
    course.step()  # the fault is still present
    assert course.safety.is_armed == (recover == "auto")


def test_disarmed_while_it_is_pressed_it_still_says_the_graver_one(tmp_path: Path) -> None:
    course = Course(tmp_path)
    course.step()
    course.pipeline.operator.hear_estop(True)
    course.step()
    course.pipeline.operator.hear_estop(False)
    course.safety.disarm()
    course.step()
    assert course.state == STOPPED


def test_the_operator_s_reason_replaces_another_and_keeps_auto_from_recovering(
    tmp_path: Path,
) -> None:
    rules = {"joints": InputRule(100 * MS, "safe_stop")}
    course = Course(tmp_path, recover="auto", inputs=rules)
    course.step()
    course.feeds = False
    for _ in range(12):
        course.step()
    assert course.state == (Decision.SAFE_STOP, Reason.INPUT_STALE)
    course.pipeline.operator.hear_estop(True)
    course.step()
    course.pipeline.operator.hear_estop(False)
    course.feeds = True
    for _ in range(12):
        course.step()
    assert course.state == STOPPED


def test_arming_is_refused_while_a_joint_is_outside_its_limits(tmp_path: Path) -> None:
    limits = CommandLimits(np.full(2, -1.0), np.full(2, 1.0), np.full(2, np.inf))
    course = Course(tmp_path, "position", require_arming=True, limits=limits)
    course.position = [0.5, 1.2]
    course.step()
    accepted, why = course.arm()
    assert not accepted
    assert why == "not armed: joint outside its limits: b: 1.2, within -1 to 1"
    course.position = [0.5, 0.9]
    assert course.arm() == (True, "armed")


@pytest.mark.parametrize("value", [math.nan, 1.11, -1.11])
def test_a_measured_position_beyond_the_margin_stops(tmp_path: Path, value: float) -> None:
    limits = CommandLimits(np.full(2, -1.0), np.full(2, 1.0), np.full(2, np.inf))
    course = Course(tmp_path, "position", limits=limits, position_margin=0.1)
    for within in ([1.05, 0.0], [0.0, -1.05]):
        course.position = within
        assert course.step() is not None
        assert course.state == RUN
    course.position = [1.05, value]
    course.step()
    assert course.state == (Decision.SAFE_STOP, Reason.JOINT_OUTSIDE)
    assert course.safety.detail.startswith("b: ")


def test_a_measured_speed_beyond_its_limit_stops_between_inferences(tmp_path: Path) -> None:
    course = Course(tmp_path, max_velocity={"b": 3.0}, decimation=5)
    course.step()
    for speed, decision in ((2.9, Decision.RUN), (-3.1, Decision.SAFE_STOP)):
        course.now_ns += 1
        course.rig.joints(
            "joints", course.now_ns, ["a", "b"], position=[0, 0], velocity=[9.0, speed]
        )
        assert course.pipeline.step(course.now_ns).decision is decision
    assert course.safety.reason is Reason.JOINT_TOO_FAST
    assert course.safety.detail == "b: -3.1, at most 3"
