"""Several sources of the emergency stop, several publishers of a source, and release by ~/arm."""

from __future__ import annotations

from pathlib import Path

import pytest
from core_rig import MS
from test_operator_requests import NOT_ARMED, RUN, STOPPED, Asked, Course

from policy_runner.core.safety.decision import Decision, Reason
from policy_runner.core.safety.operator_requests import EstopSource, Operator

QUIET_NS = 1000 * MS


class Pendants(Course):
    """A course in RUN whose emergency stop has two released sources."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.left, self.right = EstopSource("~/estop"), EstopSource("/pendant/estop")
        self.operator = self.pipeline.operator = Operator([self.left, self.right])
        self.step()
        assert self.state == RUN

    def hear(self, pressed: bool, source: EstopSource) -> None:
        self.operator.hear_estop(pressed, self.now_ns, source)

    def arm_at(self, now_ns: int) -> tuple[bool, str]:
        asked = Asked()
        self.operator.ask_to_arm(asked, now_ns, QUIET_NS)
        self.step()
        return asked.answers[0]


def test_each_source_is_latched_separately(tmp_path: Path) -> None:
    course = Pendants(tmp_path)
    course.hear(True, course.right)
    course.hear(False, course.left)
    course.step()
    assert course.state == STOPPED
    assert course.safety.detail == "/pendant/estop"
    course.hear(True, course.left)
    course.step()
    assert course.safety.detail == "~/estop, /pendant/estop"
    course.hear(False, course.right)
    course.step()
    assert course.safety.detail == "~/estop"
    assert course.arm_at(1 << 60) == (False, "not armed: operator stop: ~/estop")
    course.hear(False, course.left)
    assert course.arm_at(1 << 60)[0]
    course.step()
    assert course.state == RUN


def test_with_several_publishers_false_releases_nothing_and_arming_does_once_it_is_quiet(
    tmp_path: Path,
) -> None:
    course = Pendants(tmp_path)
    course.hear(True, course.left)
    course.left.shared = True
    pressed_ns = course.now_ns
    for _ in range(3):
        course.hear(False, course.left)
        course.step()
    assert course.left.pressed
    accepted, why = course.arm_at(pressed_ns + QUIET_NS - 1)
    assert not accepted
    said = "~/estop said true 1.00 s ago and must be quiet for 1 s"
    assert why == f"not armed: operator stop: {said}"
    course.step()
    assert course.state == STOPPED
    assert course.arm_at(pressed_ns + QUIET_NS)[0]
    course.step()
    assert course.state == RUN
    assert not course.operator.pressed
    assert not course.left.shared


def test_a_press_in_the_tick_of_the_request_is_no_quiet(tmp_path: Path) -> None:
    course = Pendants(tmp_path)
    course.hear(True, course.left)
    course.left.shared = True
    course.step()
    course.hear(True, course.left)
    assert not course.arm_at(1 << 60)[0]
    assert course.state == STOPPED


def test_a_held_source_is_not_released_by_arming_for_the_other_one(tmp_path: Path) -> None:
    course = Pendants(tmp_path)
    course.hear(True, course.left)
    course.hear(True, course.right)
    course.left.shared = True
    course.step()
    accepted, why = course.arm_at(1 << 60)
    assert (accepted, why) == (False, "not armed: operator stop: ~/estop, /pendant/estop")
    assert course.left.pressed


def test_a_request_that_is_refused_for_another_reason_releases_nothing(tmp_path: Path) -> None:
    course = Pendants(tmp_path)
    course.hear(True, course.left)
    course.left.shared = True
    course.step()
    course.feeds = False
    course.now_ns += 200 * MS
    accepted, why = course.arm_at(1 << 60)
    assert not accepted
    assert "joints" in why
    assert course.left.pressed
    course.feeds = True
    course.step()
    assert course.state == STOPPED
    assert course.operator.fault() is not None


def test_a_request_that_was_withdrawn_releases_nothing(tmp_path: Path) -> None:
    course = Pendants(tmp_path)
    course.hear(True, course.left)
    course.left.shared = True
    course.step()
    course.operator.ask_to_arm(Asked(wants=False), 1 << 60, QUIET_NS)
    course.step()
    course.step()
    assert course.state == STOPPED
    assert course.left.pressed


def test_a_new_press_of_one_publisher_is_released_by_its_false_again(tmp_path: Path) -> None:
    course = Pendants(tmp_path)
    course.hear(True, course.left)
    course.left.shared = True
    course.step()
    assert course.arm_at(1 << 60)[0]
    course.hear(True, course.left)
    course.hear(False, course.left)
    assert not course.operator.pressed


def test_a_publisher_that_cannot_be_heard_refuses_arming(tmp_path: Path) -> None:
    course = Pendants(tmp_path)
    course.safety.disarm()
    course.step()
    course.right.unheard = "incompatible QoS on /pendant/estop"
    assert course.arm_at(0) == (
        False,
        "not armed: /pendant/estop: incompatible QoS on /pendant/estop",
    )
    course.right.unheard = ""
    assert course.arm_at(0)[0]


def test_the_executor_can_forbid_arming_with_a_reason(tmp_path: Path) -> None:
    course = Pendants(tmp_path)
    course.safety.disarm()
    course.step()
    course.operator.forbid("second commander", "/other publishes the commands, too")
    course.operator.forbid("guard", "there is no guard")
    assert course.arm_at(0) == (False, "not armed: /other publishes the commands, too")
    course.operator.forbid("second commander", "")
    assert course.arm_at(0) == (False, "not armed: there is no guard")
    course.operator.forbid("guard", "")
    course.operator.forbid("guard", "")
    assert course.arm_at(0)[0]


@pytest.mark.parametrize("require_arming", [False, True])
def test_disarmed_outlives_activation_and_another_policy(
    tmp_path: Path, require_arming: bool
) -> None:
    course = Course(tmp_path, require_arming=require_arming)
    course.arm()
    operator = course.pipeline.operator
    operator.disarm(course.safety)
    course.step()
    assert course.state == (Decision.SAFE_STOP, Reason.DISARMED)
    course.pipeline.activate()
    assert [course.step() for _ in range(5)] == [None] * 5
    assert course.state == NOT_ARMED
    other = Course(tmp_path, require_arming=require_arming)
    other.pipeline.operator = operator
    other.pipeline.activate()
    assert other.step() is None
    assert other.arm() == (True, "armed")
    other.pipeline.activate()
    other.step()
    assert other.state == (NOT_ARMED if require_arming else RUN)


def test_presses_and_releases_are_kept_for_the_log(tmp_path: Path) -> None:
    course = Pendants(tmp_path)
    for _ in range(3):
        course.hear(True, course.left)
    course.hear(False, course.left)
    course.hear(False, course.left)
    course.operator.hear_estop(True, 0, course.right, "/pendant/estop (too many messages)")
    assert list(course.operator.events) == [
        "emergency stop pressed: ~/estop",
        "emergency stop released: ~/estop; ~/arm is needed",
        "emergency stop pressed: /pendant/estop (too many messages)",
    ]
    course.step()
    assert course.safety.detail == "/pendant/estop (too many messages)"
    for _ in range(1000):
        course.hear(True, course.left)
        course.hear(False, course.left)
    assert len(course.operator.events) < 100
