"""The state that must survive a stop, an activation or a clock jump, and that must not."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, FakeClock, FakeModel, Rig, make_rig, settings_for, spec_content, term
from core_rig import write_spec as write

from policy_runner.core.pipeline.build import build_pipeline
from policy_runner.core.safety.decision import Decision, Fault, Reason, Safety
from policy_runner.core.safety.loop_watch import LoopWatch
from policy_runner.core.settings import CommandLimits, Settings
from policy_runner.core.spec import read_spec

ESTOP = Fault(Decision.SAFE_STOP, Reason.OPERATOR_STOP, "~/estop")
TIPPED = Fault(Decision.SAFE_STOP, Reason.TIPPED, "80 degrees")
STALE = Fault(Decision.HOLD, Reason.INPUT_STALE, "imu: 0.3 s old")
RECOVER_TICKS = 21  # the first tick without a fault, and 200 ms after it


class Course:
    """A `Safety` that judges every 10 ms."""

    def __init__(self, **settings: Any) -> None:
        self.safety = Safety()
        self.settings = Settings(
            10 * MS, 1, {}, CommandLimits.none(1), hold_recover_ns=200 * MS, **settings
        )
        self.now_ns = 0

    def judge(self, fault: Fault | None = None) -> Decision:
        self.now_ns += 10 * MS
        return self.safety.judge(self.now_ns, fault, self.settings)

    def ticks(self, count: int, fault: Fault | None = None) -> set[Decision]:
        return {self.judge(fault) for _ in range(count)}


# --- the operator ---


def test_an_emergency_stop_takes_back_an_arming_that_was_still_settling() -> None:
    course = Course()
    course.judge()
    course.judge(TIPPED)
    course.safety.arm()
    assert course.ticks(10) == {Decision.SAFE_STOP}  # armed, within `hold_recover`
    course.judge(ESTOP)
    assert not course.safety.is_armed
    assert course.ticks(100) == {Decision.SAFE_STOP}
    assert course.safety.reason is Reason.OPERATOR_STOP
    course.safety.arm()
    assert course.judge() is Decision.RUN


@pytest.mark.parametrize("recover", ["armed", "auto"])
def test_an_emergency_stop_disarms_whatever_comes_after_it(recover: str) -> None:
    course = Course(recover=recover)
    assert course.judge() is Decision.RUN
    course.judge(ESTOP)
    assert not course.safety.armed
    course.safety.reset()  # back to STARTING: the stop must not have armed it
    assert course.ticks(50) == {Decision.STARTING}
    assert course.safety.reason is Reason.NOT_ARMED
    course.safety.arm()
    assert course.judge() is Decision.RUN


def test_disarming_takes_back_an_arming_that_was_still_settling() -> None:
    course = Course()
    course.judge()
    course.judge(ESTOP)
    course.safety.arm()
    course.judge()
    course.safety.disarm()
    assert not course.safety.is_armed
    assert course.ticks(100) == {Decision.SAFE_STOP}


def test_an_emergency_stop_that_was_armed_after_leaves_nothing_in_the_next_activation() -> None:
    course = Course(recover="auto")
    course.judge()
    course.judge(ESTOP)
    course.safety.arm()  # released and armed, then deactivated within `hold_recover`
    course.judge()
    course.safety.activate(armed=True)
    assert course.judge() is Decision.RUN
    # Therefore the next stop recovers as configured.
    assert course.judge(TIPPED) is Decision.SAFE_STOP
    assert course.safety.is_armed
    assert [course.judge() for _ in range(RECOVER_TICKS)][-1] is Decision.RUN


def test_an_emergency_stop_that_was_armed_after_leaves_nothing_in_the_next_run() -> None:
    course = Course(recover="auto")
    course.judge()
    course.judge(ESTOP)
    course.safety.arm()
    assert [course.judge() for _ in range(RECOVER_TICKS)][-1] is Decision.RUN
    assert course.judge(TIPPED) is Decision.SAFE_STOP
    assert [course.judge() for _ in range(RECOVER_TICKS)][-1] is Decision.RUN


def test_disarmed_in_a_stop_that_would_recover_by_itself_it_waits_for_arming() -> None:
    course = Course(recover="auto")
    course.judge()
    course.judge(TIPPED)
    course.safety.disarm()
    assert course.safety.reason is Reason.DISARMED
    assert course.ticks(100) == {Decision.SAFE_STOP}


def test_a_stop_that_no_longer_may_recover_by_itself_waits_for_arming() -> None:
    course = Course(recover="auto")
    course.judge()
    course.judge(TIPPED)
    course.judge()
    course.settings = replace(course.settings, recover="armed")
    assert course.ticks(100) == {Decision.SAFE_STOP}
    assert not course.safety.is_armed
    course.settings = replace(course.settings, recover="auto")
    assert course.ticks(2) == {Decision.RUN}


def test_a_fault_before_it_was_armed_arms_nothing_and_latches_nothing() -> None:
    course = Course()
    course.safety.activate(armed=False)
    assert course.ticks(5, TIPPED) == {Decision.STARTING}
    assert course.safety.reason is Reason.NOT_ARMED
    assert course.ticks(5) == {Decision.STARTING}
    assert course.safety.safe_stops == 0


def test_a_hold_counts_its_time_from_its_own_beginning() -> None:
    course = Course(safe_stop_after_ns=100 * MS)
    course.judge()
    course.ticks(50)
    assert course.ticks(10, STALE) == {Decision.HOLD}
    assert course.judge(STALE) is Decision.SAFE_STOP


def test_a_failed_loop_is_armed_by_nothing_that_was_asked_before() -> None:
    course = Course(recover="auto")
    course.judge()
    course.safety.fail("RuntimeError: odd")
    assert (course.safety.decision, course.safety.reason) == (
        Decision.SAFE_STOP,
        Reason.LOOP_FAILED,
    )
    assert course.safety.detail == "RuntimeError: odd"


# --- measurements ---


def _watched(folder: Path, reads: str, **settings: Any) -> Rig:
    """A policy that reads one kind of joint value; the speed of joint b is watched."""
    content = spec_content()
    content["observation"][0]["terms"] = [term(f"joint_{reads}", input="joints")]
    return make_rig(folder, content, max_velocity={"b": 3.0}, **settings)


@pytest.mark.parametrize("speed", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("reads", "decimation"), [("position", 1), ("velocity", 5)])
def test_a_speed_that_is_no_number_is_too_fast(
    tmp_path: Path, reads: str, decimation: int, speed: float
) -> None:
    rig = _watched(tmp_path, reads, decimation=decimation)
    rig.joints("joints", 1, ["a", "b"], position=[0, 0], velocity=[9.0, 2.0])
    assert rig.pipeline.step(1).decision is Decision.RUN
    rig.joints("joints", 2, ["a", "b"], position=[0, 0], velocity=[9.0, speed])
    assert rig.pipeline.step(2).decision is Decision.SAFE_STOP
    assert rig.pipeline.safety.reason is Reason.JOINT_TOO_FAST
    assert rig.pipeline.safety.detail.startswith("b: ")


def test_a_speed_that_was_never_measured_is_missing_and_not_too_fast(tmp_path: Path) -> None:
    rig = _watched(tmp_path, "position")
    rig.joints("joints", 1, ["a", "b"], position=[0, 0], velocity=[])
    assert rig.pipeline.step(1).decision is Decision.STARTING
    assert rig.pipeline.safety.reason is Reason.INPUT_MISSING


def test_a_speed_limit_that_changes_while_it_runs_holds_from_the_next_tick(tmp_path: Path) -> None:
    rig = _watched(tmp_path, "velocity")
    rig.joints("joints", 1, ["a", "b"], velocity=[0.0, 2.5])
    assert rig.pipeline.step(1).decision is Decision.RUN
    rig.pipeline.settings = replace(rig.pipeline.settings, max_velocity={"b": 2.0})
    assert rig.pipeline.step(2).decision is Decision.SAFE_STOP
    assert rig.pipeline.safety.reason is Reason.JOINT_TOO_FAST


def test_every_watched_joint_is_watched(tmp_path: Path) -> None:
    for joint in ("a", "b"):
        rig = make_rig(tmp_path, spec_content(), max_velocity={"a": 3.0, "b": 3.0})
        speeds = [4.0 if name == joint else 0.0 for name in ("a", "b")]
        rig.joints("joints", 1, ["a", "b"], velocity=speeds)
        assert rig.pipeline.step(1).decision is Decision.SAFE_STOP
        assert rig.pipeline.safety.detail.startswith(f"{joint}: ")


def test_a_margin_widens_both_bounds(tmp_path: Path) -> None:
    limits = CommandLimits(np.full(2, -1.0), np.full(2, 1.0), np.full(2, np.inf))
    groups = [{"kind": "position", "joints": ["a", "b"]}]
    content = spec_content(action=[{"tensor": "act", "groups": groups}])
    content["observation"][0]["terms"] = [term("joint_position", input="joints")]
    for position, decision in ((1.09, "RUN"), (-1.09, "RUN"), (1.11, "STOP"), (-1.11, "STOP")):
        rig = make_rig(tmp_path, content, limits=limits, position_margin=0.1)
        rig.joints("joints", 1, ["a", "b"], position=[0.0, position])
        assert rig.pipeline.step(1).decision.name.endswith(decision)


# --- late inferences ---


class Slow:
    """A policy whose inferences take the time given to `step`, on the pipeline's clock."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.clock = FakeClock()
        self.took_ns = 0
        self.now_ns = 0
        spec = read_spec(write(folder, spec_content()))
        model = FakeModel({"obs": (1, 2)}, {"act": (1, 2)}, self._compute)
        settings.setdefault("late_inferences", 3)
        self.pipeline = build_pipeline(spec, model, settings_for(spec, **settings), {}, self.clock)
        self.pipeline.activate()
        self.rig = Rig(self.pipeline, model)

    def _compute(self, _inputs: object) -> dict[str, float]:
        self.clock.now_ns += self.took_ns
        return {"act": 1.0}

    def step(self, took_ns: int, count: int = 1) -> set[Decision]:
        found = set()
        self.took_ns = took_ns
        for _ in range(count):
            self.now_ns += 10 * MS
            self.rig.joints("joints", self.now_ns, ["a", "b"], velocity=[0.0, 0.0])
            found.add(self.pipeline.step(self.now_ns).decision)
        return found


LATE, IN_TIME = 11 * MS, 9 * MS


def test_late_inferences_of_before_an_activation_do_not_count(tmp_path: Path) -> None:
    slow = Slow(tmp_path)
    assert slow.step(LATE, 2) == {Decision.RUN}
    slow.pipeline.activate()
    assert slow.step(LATE, 2) == {Decision.RUN}
    assert slow.step(LATE) == {Decision.SAFE_STOP}
    assert slow.pipeline.safety.reason is Reason.INFERENCE_LATE


def test_one_inference_in_time_ends_a_row_of_late_ones(tmp_path: Path) -> None:
    slow = Slow(tmp_path)
    for _ in range(5):
        assert slow.step(LATE, 2) == {Decision.RUN}
        assert slow.step(IN_TIME) == {Decision.RUN}
    assert slow.pipeline.late_inferences == 10


# --- the loop ---


def test_lateness_of_before_the_loop_began_again_does_not_count() -> None:
    watch = LoopWatch()
    settings = Settings(10 * MS, 1, {}, CommandLimits.none(0), late_ticks=3)
    watch.begin(0)
    assert [watch.fault(k, k, settings) for k in (1, 2)] == [None, None]
    watch.begin(3)
    assert [watch.fault(3 + k, k, settings) for k in (1, 2)] == [None, None]
    fault = watch.fault(6, 3, settings)
    assert fault is not None
    assert (fault.decision, fault.reason) == (Decision.HOLD, Reason.DEADLINES_MISSED)
    watch.begin(7)
    # The deadlines of a new loop are counted from 0.
    assert watch.fault(8, 0, replace(settings, late_ticks=1)) is None


def test_a_standstill_of_before_the_loop_began_again_is_no_silence_of_the_executor() -> None:
    watch = LoopWatch()
    settings = Settings(10 * MS, 1, {}, CommandLimits.none(0), executor_timeout_ns=2000 * MS)
    watch.beat_ns = 1
    watch.begin(0)
    assert watch.fault(5000 * MS, 0, settings) is None  # the process stood still
    watch.begin(60_000 * MS)
    assert watch.fault(60_010 * MS, 0, settings) is None
    assert watch.fault(65_000 * MS, 0, settings) is None  # again, with no heartbeat in between
    assert watch.fault(65_010 * MS, 0, settings) is None
