"""Header stamps, late inferences and ticks, a silent executor, the tilt between inferences."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from core_rig import MS, FakeModel, Rig, make_rig, refused, spec_content, term

from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.safety.decision import Decision, Reason
from policy_runner.core.safety.loop_watch import LoopWatch
from policy_runner.core.settings import InputRule, Settings
from policy_runner.core.spec import Input

DAY_NS = 86_400_000_000_000
NOW_NS = 20_000 * DAY_NS
IMU = "sensor_msgs/msg/Imu"


def _twists(folder: Path, rule: InputRule) -> Rig:
    content = spec_content(inputs={"cmd": {"type": "geometry_msgs/msg/TwistStamped", "topic": "c"}})
    content["observation"][0]["terms"] = [term("velocity_command", input="cmd", axes=["linear.x"])]
    rig = make_rig(folder, content, size=1, inputs={"cmd": rule})
    rig.pipeline.slots["cmd"].stamped = True
    return rig


def _twist(rig: Rig, now_ns: int, stamp_ns: int) -> InputSlot:
    slot = rig.pipeline.slots["cmd"]
    next(iter(slot.arrays.values()))[:] = 0.5
    slot.received(now_ns, stamp_ns, NOW_NS)
    return slot


@pytest.mark.parametrize(
    ("stamp_ns", "says"),
    [
        (0, "the header stamp is 0"),
        (NOW_NS - 66 * DAY_NS, "the header stamp is 5702400.000 s behind the clock"),
        (NOW_NS - 601 * MS, "the header stamp is 0.601 s behind the clock"),
        (NOW_NS - 600 * MS, ""),
        (NOW_NS + 500 * MS, ""),
        (NOW_NS + 501 * MS, "the header stamp is 0.501 s ahead of the clock"),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_a_header_stamp_is_reported_and_stops_only_where_it_should(
    tmp_path: Path, stamp_ns: int, says: str, strict: bool
) -> None:
    rig = _twists(tmp_path, InputRule(100 * MS, "hold", strict))
    _twist(rig, 1, NOW_NS)
    assert rig.pipeline.step(1).decision is Decision.RUN
    slot = _twist(rig, 2, stamp_ns)
    decision = rig.pipeline.step(2).decision
    assert slot.stamp_fault == says
    assert slot.stamp_faults == bool(says)
    assert decision is (Decision.HOLD if says and strict else Decision.RUN)
    if says and strict:
        assert rig.pipeline.safety.reason is Reason.STAMP
        assert rig.pipeline.safety.detail == f"cmd: {says}"
    _twist(rig, 3, NOW_NS)
    assert rig.pipeline.step(3).decision is Decision.RUN


@pytest.mark.parametrize(
    ("on_stale", "decision"), [("safe_stop", Decision.SAFE_STOP), ("zero", Decision.RUN)]
)
def test_a_strict_stamp_leads_to_the_action_of_its_input(
    tmp_path: Path, on_stale: str, decision: Decision
) -> None:
    rig = _twists(tmp_path, InputRule(100 * MS, on_stale, strict_stamp=True))
    _twist(rig, 1, 0)
    assert rig.pipeline.step(1).decision is decision
    if on_stale == "zero":
        assert rig.model.inputs["obs"].tolist() == [[0]]


def test_a_message_without_a_header_has_no_stamp_to_judge() -> None:
    slot = InputSlot("cmd", Input(type="geometry_msgs/msg/Twist", topic="c"))
    slot.oldest_stamp_ns = 1
    slot.received(1, 0, NOW_NS)
    assert (slot.stamp_fault, slot.stamp_faults) == ("", 0)


class SlowModel:
    """A model that takes a given time on the pipeline's clock."""

    def __init__(self, folder: Path, **settings: int) -> None:
        self.took_ns = 0
        self.now_ns = 0
        self.at_ns = 0

        def compute(_: object) -> dict[str, float]:
            self.at_ns += self.took_ns
            return {"act": 1.0}

        self.rig = make_rig(folder, spec_content(), compute=compute, **settings)
        self.rig.pipeline._clock_ns = lambda: self.at_ns
        self.pipeline = self.rig.pipeline

    def step(self, took_ns: int) -> Decision:
        self.took_ns = took_ns
        self.now_ns += 10 * MS
        self.rig.joints("joints", self.now_ns, ["a", "b"], velocity=[0.0, 0.0])
        return self.pipeline.step(self.now_ns).decision


def test_late_inferences_in_a_row_stop_and_one_alone_does_not(tmp_path: Path) -> None:
    slow = SlowModel(tmp_path, late_inferences=3)
    for took_ns in (100 * MS, 101 * MS, 10 * MS, 11 * MS, 11 * MS):
        assert slow.step(took_ns) is Decision.RUN
    assert slow.pipeline.late_inferences == 4
    assert slow.step(12 * MS) is Decision.SAFE_STOP
    assert slow.pipeline.safety.reason is Reason.INFERENCE_LATE
    assert slow.pipeline.safety.detail == "3 in a row, the last one 12.0 ms"
    slow.pipeline.safety.arm()
    assert [slow.step(11 * MS) for _ in range(2)] == [Decision.RUN] * 2  # the count restarted


def test_an_inference_may_take_all_the_ticks_until_the_next_one(tmp_path: Path) -> None:
    slow = SlowModel(tmp_path, late_inferences=1, decimation=4)
    assert [slow.step(40 * MS) for _ in range(8)] == [Decision.RUN] * 8
    assert [slow.step(41 * MS) for _ in range(4)] == [Decision.SAFE_STOP] * 4


@pytest.mark.parametrize("limit", [0, 3])
def test_inferences_that_are_always_late_without_a_limit(tmp_path: Path, limit: int) -> None:
    slow = SlowModel(tmp_path, late_inferences=limit)
    decisions = [slow.step(100 * MS) for _ in range(20)]
    assert (Decision.SAFE_STOP in decisions) == (limit > 0)
    assert slow.pipeline.late_inferences == (3 if limit else 20)


def _settings(**keys: int) -> Settings:
    rig_settings = {"late_ticks": 3, "executor_timeout_ns": 2000 * MS, "callback_failures": 10}
    from policy_runner.core.settings import CommandLimits

    return Settings(10 * MS, 1, {}, CommandLimits.none(0), **{**rig_settings, **keys})  # type: ignore[arg-type]


def test_deadlines_missed_in_a_row_hold_and_one_long_stall_does_not() -> None:
    watch, settings = LoopWatch(), _settings()
    watch.begin(0)
    assert watch.fault(1, 500, settings) is None  # suspended for 5 s: one late tick
    assert watch.fault(2, 500, settings) is None
    assert [watch.fault(3 + k, 501 + k, settings) for k in range(2)] == [None, None]
    fault = watch.fault(5, 503, settings)
    assert fault == (Decision.HOLD, Reason.DEADLINES_MISSED, "3 ticks")
    assert watch.fault(6, 503, settings) is None
    off = _settings(late_ticks=0)
    assert [watch.fault(7 + k, 504 + k, off) for k in range(9)] == [None] * 9


def test_a_silent_executor_stops_and_activation_begins_anew() -> None:
    watch, settings = LoopWatch(), _settings()

    def ticks(first_ms: int, last_ms: int, settings: Settings = settings) -> list[object]:
        faults = [watch.fault(ms * MS, 0, settings) for ms in range(first_ms, last_ms, 10)]
        return [fault for fault in faults if fault is not None]

    watch.begin(5000 * MS)  # configure took 5 s in the executor itself
    assert not ticks(5000, 7010)
    (first,) = ticks(7010, 7020)
    assert first == (Decision.SAFE_STOP, Reason.EXECUTOR_SILENT, "for 2.0 s")
    watch.beat_ns = 7020 * MS
    assert not ticks(7020, 9020)
    assert not ticks(9020, 12_000, _settings(executor_timeout_ns=0))
    # After a suspension or a standstill of simulated time, the executor gets its full timeout.
    watch.beat_ns = 12_000 * MS
    assert watch.fault(60_000 * MS, 0, settings) is None
    assert watch.fault(60_010 * MS, 0, settings) is None


def test_callbacks_that_fail_too_often() -> None:
    watch, settings = LoopWatch(), _settings()
    watch.failures = 9
    assert watch.fault(1, 0, settings) is None
    watch.failures = 10
    fault = watch.fault(1, 0, settings)
    assert fault == (Decision.SAFE_STOP, Reason.CALLBACKS_FAILING, "10 within a minute")
    assert watch.fault(1, 0, _settings(callback_failures=0)) is None


def test_what_the_loop_brings_is_judged_with_the_rest(tmp_path: Path) -> None:
    rig = _twists(tmp_path, InputRule(100 * MS, "safe_stop"))
    hold = LoopWatch()
    hold.begin(0)
    outer = hold.fault(1, 1, _settings(late_ticks=1))
    _twist(rig, 1, NOW_NS)
    rig.pipeline.step(1)
    assert rig.pipeline.step(2, outer).decision is Decision.HOLD
    assert rig.pipeline.step(200 * MS, outer).decision is Decision.SAFE_STOP  # the more severe one
    assert rig.pipeline.safety.reason is Reason.INPUT_STALE


def _upright(folder: Path, **settings: object) -> Rig:
    content = spec_content(inputs={"imu": {"type": IMU, "topic": "i"}})
    content["inputs"]["joints"] = {"type": "sensor_msgs/msg/JointState", "topic": "j"}
    content["observation"][0]["terms"] = [
        term("projected_gravity", input="imu"),
        term("joint_velocity", input="joints"),
    ]
    return make_rig(folder, content, size=5, max_tilt_rad=math.radians(30), **settings)


def _imu(rig: Rig, now_ns: int, pitch: float) -> None:
    half = math.radians(pitch) / 2
    rig.feed("imu", now_ns, orientation=(0, math.sin(half), 0, math.cos(half)))


def test_tipped_between_two_inferences_and_while_another_input_is_stale(tmp_path: Path) -> None:
    for stale in (False, True):
        rig = _upright(tmp_path, decimation=10)
        _imu(rig, 1, 0)
        rig.joints("joints", 1, ["a", "b"], velocity=[0, 0])
        assert rig.pipeline.step(1).decision is Decision.RUN
        now_ns = 150 * MS if stale else 2
        _imu(rig, now_ns, 31)
        step = rig.pipeline.step(now_ns)
        assert (step.decision, step.inferred) == (Decision.SAFE_STOP, False)
        assert rig.pipeline.safety.reason is Reason.TIPPED
        assert rig.pipeline.safety.detail == "31 degrees"


def test_watching_what_nobody_measures_is_refused(tmp_path: Path) -> None:
    content = spec_content(inputs={"imu": {"type": IMU, "topic": "i"}})
    content["observation"][0]["terms"] = [term("projected_gravity", input="imu")]
    problems = refused(
        make_rig, tmp_path, content, size=3, max_velocity={"a": 1.0}, position_margin=0.1
    )
    assert problems == [
        "parameter safety.position_margin: expected not set, or a policy that commands positions, "
        "got 0.1",
        "parameter joints.a.max_velocity: expected not set, or a policy with an input of joint "
        "states, got none that reports the velocity of a",
    ]


def test_a_watch_waits_for_what_no_term_reads(tmp_path: Path) -> None:
    content = spec_content(
        action=[{"tensor": "act", "groups": [{"kind": "position", "joints": ["a", "b"]}]}]
    )
    rig = make_rig(tmp_path, content, position_margin=0.1)
    rig.joints("joints", 1, ["a", "b"], velocity=[0, 0])
    assert rig.pipeline.step(1).decision is Decision.STARTING
    assert rig.pipeline.safety.detail == "joints: position of a, position of b"


def test_the_previous_target_starts_at_the_default_pose(tmp_path: Path) -> None:
    content = spec_content(
        default_joint_pos={"a": 0.25, "b": -0.5},
        action=[{"tensor": "act", "groups": [{"kind": "position", "joints": ["a", "b"]}]}],
    )
    content["observation"][0]["terms"] = [
        term("joint_position", input="joints", relative_to="previous_target")
    ]
    rig = make_rig(tmp_path, content, compute=lambda _: {"act": 1.0})
    seen = []
    for k in range(1, 4):
        rig.joints("joints", k, ["a", "b"], position=[0.0, 0.0])
        rig.pipeline.step(k)
        seen.append(rig.model.inputs["obs"][0].tolist())
        if k == 2:
            rig.pipeline.reset()
    assert seen == [[-0.25, 0.5], [-1.0, -1.0], [-0.25, 0.5]]


def test_settings_swapped_while_it_runs_move_the_watches(tmp_path: Path) -> None:
    rig = _upright(tmp_path)
    _imu(rig, 1, 20)
    rig.joints("joints", 1, ["a", "b"], velocity=[0, 0])
    assert rig.pipeline.step(1).decision is Decision.RUN
    rig.pipeline.settings = dataclasses.replace(rig.pipeline.settings, max_tilt_rad=0.1)
    assert rig.pipeline.step(2).decision is Decision.SAFE_STOP
    assert isinstance(rig.model, FakeModel)
    assert np.isfinite(rig.model.inputs["obs"]).all()


def test_a_silent_executor_is_told_at_ticks_that_are_far_apart() -> None:
    watch, settings = LoopWatch(), _settings()
    watch.begin(0)
    watch.beat_ns = 100 * MS
    # A slow simulator: every tick is 0.6 s after the previous one.
    faults = [watch.fault(k * 600 * MS, 0, settings) for k in range(1, 8)]
    assert faults[:4] == [None] * 4
    assert faults[4] == (Decision.SAFE_STOP, Reason.EXECUTOR_SILENT, "for 2.4 s")
    watch.beat_ns = 4300 * MS
    assert watch.fault(4800 * MS, 0, settings) is None


def test_tipped_while_another_term_is_unusable(tmp_path: Path) -> None:
    inputs = {name: {"type": IMU, "topic": name} for name in ("head", "imu")}
    content = spec_content(inputs=inputs)
    content["observation"][0]["terms"] = [
        term("heading", input="head"),
        term("projected_gravity", input="imu"),
    ]
    rig = make_rig(tmp_path, content, size=5, max_tilt_rad=math.radians(30))
    _imu(rig, 1, 0)
    rig.feed("head", 1, orientation=(0, 0, 0, 1))
    assert rig.pipeline.step(1).decision is Decision.RUN
    rig.feed("head", 2, orientation=(0, 0, 0, 0))  # the driver reports "unknown" in this way
    assert rig.pipeline.step(2).decision is Decision.HOLD
    assert rig.pipeline.safety.reason is Reason.OBSERVATION_NOT_FINITE
    _imu(rig, 3, 31)
    assert rig.pipeline.step(3).decision is Decision.SAFE_STOP
    assert rig.pipeline.safety.reason is Reason.TIPPED


@pytest.mark.parametrize("how", ["activated", "time jumped"])
def test_gravity_of_before_tips_nobody(tmp_path: Path, how: str) -> None:
    rig = _upright(tmp_path)
    _imu(rig, 1, 80)
    rig.joints("joints", 1, ["a", "b"], velocity=[0, 0])
    assert rig.pipeline.step(1).decision is Decision.SAFE_STOP
    if how == "activated":
        rig.pipeline.activate()
    else:
        rig.pipeline.safety.reset()
        rig.pipeline.time_jumped(forget_inputs=True)
    assert rig.pipeline.step(2).decision is Decision.STARTING
    assert rig.pipeline.safety.reason is Reason.INPUT_MISSING
    _imu(rig, 3, 0)
    rig.joints("joints", 3, ["a", "b"], velocity=[0, 0])
    assert rig.pipeline.step(3).decision is Decision.RUN


@pytest.mark.parametrize(
    ("choice", "decision"), [("hold", Decision.HOLD), ("safe_stop", Decision.SAFE_STOP)]
)
def test_a_second_commander_stops_where_it_is_asked_for(choice: str, decision: Decision) -> None:
    watch, settings = LoopWatch(), _settings()
    watch.begin(0)
    watch.commanders = "/joint_commands is published by /other, too"
    assert watch.fault(1, 0, settings) is None
    asked = dataclasses.replace(settings, second_commander=choice)
    assert watch.fault(2, 0, asked) == (decision, Reason.SECOND_COMMANDER, watch.commanders)
    watch.commanders = ""
    assert watch.fault(3, 0, asked) is None


def test_the_joints_that_fell_silent_are_named(tmp_path: Path) -> None:
    terms = [term("joint_position", input="joints"), term("joint_velocity", input="joints")]
    content = spec_content(
        observation=[{"tensor": "obs", "terms": terms, "normalization": "none"}],
    )
    rig = make_rig(tmp_path, content, size=4)

    def step(at_ms: int, names: list[str], **values: list[float]) -> str:
        if names:
            rig.joints("joints", at_ms * MS, names, **values)
        rig.pipeline.step(at_ms * MS)
        return rig.pipeline.safety.detail

    both = {"position": [0.0, 0.0], "velocity": [0.0, 0.0]}
    one = {"position": [0.0], "velocity": [0.0]}
    assert step(10, ["a", "b"], **both) == ""
    assert step(90, ["a"], **one) == ""
    assert step(140, ["a"], **one) == "joints: position of b, velocity of b: 0.130 s old"
    assert step(150, ["a", "b"], position=[0.0, 0.0]) == "joints: velocity of b: 0.140 s old"
    assert step(241, ["a", "b"], position=[0.0, 0.0]) == "joints: every velocity: 0.231 s old"
    step(250, ["a", "b"], **both)
    assert step(400, []) == "joints: 0.150 s old"
