"""A fault, a clock jump or a start leaves no state of the previous run that moves the robot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, FakeModel, Rig, make_rig, spec_content, term

from policy_runner.core.safety.decision import Decision, Fault, Reason
from policy_runner.core.settings import CommandLimits, StopRule


def _recurrent(folder: Path, **settings: Any) -> Rig:
    """A policy that reads all state of a policy: h counts inferences, the action is h."""
    content = spec_content(
        joint_names=["a"],
        default_joint_pos=[0.0],
        state=[{"input": "h", "output": "h_out"}],
        observation=[
            {
                "tensor": "obs",
                "terms": [
                    term("joint_velocity", input="joints"),
                    term("last_action"),
                    term("step_counter"),
                    term("joint_position", input="joints", relative_to="previous_target"),
                ],
                "normalization": "none",
            }
        ],
        action=[{"tensor": "act", "groups": [{"kind": "position", "joints": ["a"]}]}],
    )
    model = FakeModel(
        {"obs": (1, 4), "h": (1, 1)},
        {"act": (1, 1), "h_out": (1, 1)},
        lambda given: {"act": given["h"] + 1, "h_out": given["h"] + 1},
    )
    return make_rig(folder, content, model, **settings)


def _seen(rig: Rig) -> list[float]:
    """The model's last inputs: velocity, last action, count, distance to the target, h."""
    seen = rig.model.seen[-1]
    return [*seen["obs"][0].tolist(), float(seen["h"][0, 0])]


def _infer(rig: Rig, now_ns: int) -> Fault | None:
    """One inference of the `Policy` object alone, as in a user's own program."""
    rig.joints("joints", now_ns, ["a"], position=[0.0], velocity=[5.0])
    assert rig.pipeline.policy.observe() is None
    with np.errstate(all="ignore"):  # as the control thread does
        return rig.pipeline.policy.infer(now_ns)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_of_an_action_that_is_not_finite_nothing_is_taken_over(tmp_path: Path, bad: float) -> None:
    rig = _recurrent(tmp_path)
    policy, compute = rig.pipeline.policy, rig.model.compute
    for k in range(1, 4):
        assert _infer(rig, k) is None
    assert _seen(rig) == [5, 2, 2, -2, 2]
    rig.model.compute = lambda _: {"act": bad, "h_out": 99.0}
    for k in (4, 5):
        fault = _infer(rig, k)
        assert fault is not None
        assert fault.reason is Reason.ACTION_NOT_FINITE
        assert _seen(rig) == [5, 3, 3, -3, 3]
    assert rig.model.inputs["h"].tolist() == [[3]]
    assert (policy.inferences, policy.inferred_at_ns) == (3, 3)
    assert policy.raw_action.tolist() == [3]
    rig.model.compute = compute
    assert _infer(rig, 6) is None
    assert _seen(rig) == [5, 3, 3, -3, 3]
    assert policy.inferences == 4


@pytest.mark.parametrize("how", ["reset", "jump", "activation"])
def test_a_new_beginning_forgets_all_that_the_policy_remembers(tmp_path: Path, how: str) -> None:
    rig = _recurrent(tmp_path)
    for k in range(1, 4):
        rig.joints("joints", k * MS, ["a"], position=[0.0], velocity=[5.0])
        assert rig.pipeline.step(k * MS).inferred
    if how == "reset":
        rig.pipeline.reset()
    elif how == "jump":
        rig.pipeline.time_jumped(forget_inputs=False)
    else:
        rig.pipeline.activate()
    rig.joints("joints", 4 * MS, ["a"], position=[0.0], velocity=[5.0])
    assert rig.pipeline.step(4 * MS).inferred
    assert _seen(rig) == [5, 0, 0, 0, 0]


def _moving(folder: Path, **settings: Any) -> Rig:
    """Joint a moves to 1.0 before the policy runs, which outputs 5."""
    content = spec_content(
        joint_names=["a"],
        default_joint_pos=[1.0],
        action=[{"tensor": "act", "groups": [{"kind": "position", "joints": ["a"]}]}],
    )
    return make_rig(
        folder,
        content,
        size=1,
        compute=lambda _: {"act": 5.0},
        start_pose_ns=100 * MS,
        start_pose_tolerance=0.05,
        **settings,
    )


class Ride:
    """A robot that follows its commands exactly."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.at, self.now_ns = rig, 0.0, 0

    def tick(self, outer: Fault | None = None) -> Decision:
        self.now_ns += 10 * MS
        self.rig.joints("joints", self.now_ns, ["a"], position=[self.at], velocity=[0.0])
        step = self.rig.pipeline.step(self.now_ns, outer)
        if step.command is not None:
            self.at = float(step.command[0])
        return step.decision

    def until_run(self) -> list[float]:
        """Tick until the policy runs; return the joint's position before each tick."""
        found = []
        for _ in range(60):
            found.append(self.at)
            if self.tick() is Decision.RUN:
                return found
            assert self.rig.pipeline.safety.reason is Reason.MOVING
        raise AssertionError("the policy never ran")


@pytest.mark.parametrize("forget_inputs", [True, False])
def test_after_a_jump_of_time_the_move_to_the_start_pose_comes_first_again(
    tmp_path: Path, forget_inputs: bool
) -> None:
    ride = Ride(_moving(tmp_path))
    assert ride.until_run()[-1] == pytest.approx(1.0)
    assert ride.tick() is Decision.RUN
    assert ride.at == 5.0
    runs = ride.rig.model.runs
    ride.rig.pipeline.time_jumped(forget_inputs)
    ride.now_ns = 0
    way = ride.until_run()
    assert len(way) == 11
    assert way == sorted(way, reverse=True)
    assert (way[0], way[-1]) == (5.0, pytest.approx(1.0))
    assert ride.rig.model.runs == runs + 1


def test_a_jump_of_time_in_the_middle_of_the_move_begins_it_again(tmp_path: Path) -> None:
    ride = Ride(_moving(tmp_path))
    for _ in range(5):
        ride.tick()
    at = ride.at
    ride.rig.pipeline.time_jumped(forget_inputs=False)
    way = ride.until_run()
    assert (len(way), way[0]) == (11, at)


def test_a_jump_of_time_releases_no_safe_stop(tmp_path: Path) -> None:
    ride = Ride(_moving(tmp_path))
    ride.until_run()
    assert ride.tick(Fault(Decision.SAFE_STOP, Reason.TIPPED, "80 degrees")) is Decision.SAFE_STOP
    ride.rig.pipeline.time_jumped(forget_inputs=False)
    assert {ride.tick() for _ in range(50)} == {Decision.SAFE_STOP}
    ride.rig.pipeline.safety.arm()
    assert ride.until_run()[-1] == pytest.approx(1.0)


def test_an_activation_makes_the_move_again(tmp_path: Path) -> None:
    ride = Ride(_moving(tmp_path))
    ride.until_run()
    ride.rig.pipeline.activate()
    assert len(ride.until_run()) == 11


def test_nothing_moves_to_the_start_pose_before_it_is_armed(tmp_path: Path) -> None:
    ride = Ride(_moving(tmp_path, require_arming=True))
    for _ in range(30):
        assert ride.tick() is Decision.STARTING
        assert ride.rig.pipeline.safety.reason is Reason.NOT_ARMED
        assert ride.at == 0.0
    assert ride.rig.pipeline.stop_command() is None
    ride.rig.pipeline.safety.arm()
    assert ride.until_run()[-1] == pytest.approx(1.0)


def test_a_start_pose_beyond_the_bounds_is_reached_at_the_bound(tmp_path: Path) -> None:
    limits = CommandLimits(np.array([-np.inf]), np.array([0.8]), np.array([np.inf]))
    ride = Ride(_moving(tmp_path, limits=limits))
    way = ride.until_run()
    assert (len(way), way[-1]) == (11, pytest.approx(0.8))


@pytest.mark.parametrize("over", [True, False])
def test_a_policy_that_takes_over_moves_only_where_the_one_before_had_not_arrived(
    tmp_path: Path, over: bool
) -> None:
    ride = Ride(_moving(tmp_path))
    if over:
        ride.until_run()
    else:
        for _ in range(5):
            ride.tick()
    other = _moving(tmp_path)
    other.pipeline.continue_from(ride.rig.pipeline)
    ride.rig = other
    if over:
        assert ride.tick() is Decision.RUN
    else:
        assert len(ride.until_run()) == 11


def _velocity(folder: Path, **settings: Any) -> Rig:
    """A policy that commands velocity 5 to joint a, at most 1 more per tick."""
    content = spec_content(
        joint_names=["a"],
        action=[{"tensor": "act", "groups": [{"kind": "velocity", "joints": ["a"]}]}],
    )
    limits = CommandLimits(np.array([-9.0]), np.array([9.0]), np.array([1.0]))
    compute = lambda _: {"act": 5.0}  # noqa: E731
    return make_rig(folder, content, size=1, compute=compute, limits=limits, **settings)


def _commands(rig: Rig, first: int, count: int) -> list[float]:
    found = []
    for k in range(first, first + count):
        rig.joints("joints", k * 10 * MS, ["a"], velocity=[0.0])
        command = rig.pipeline.step(k * 10 * MS).command
        assert command is not None
        found.append(float(command[0]))
    return found


def test_an_activation_starts_every_speed_at_0(tmp_path: Path) -> None:
    rig = _velocity(tmp_path)
    assert _commands(rig, 1, 4) == [1, 2, 3, 4]
    rig.pipeline.activate()
    assert _commands(rig, 5, 2) == [1, 2]


def test_a_policy_that_takes_over_counts_on_and_goes_on_at_the_rate(tmp_path: Path) -> None:
    rig, other = _velocity(tmp_path), _velocity(tmp_path)
    assert _commands(rig, 1, 3) == [1, 2, 3]
    counts = (rig.pipeline.limit_hits.tolist(), rig.pipeline.inferences)
    assert counts == ([3], 3)
    other.pipeline.continue_from(rig.pipeline)
    assert (other.pipeline.limit_hits.tolist(), other.pipeline.inferences) == counts
    assert _commands(other, 4, 2) == [4, 5]
    assert other.pipeline.slots["joints"].count == 5


STANDSTILL = Fault(Decision.HOLD, Reason.DEADLINES_MISSED, "25 ticks")
TIPPED = Fault(Decision.SAFE_STOP, Reason.TIPPED, "80 degrees")


def test_a_joint_that_is_nowhere_has_not_arrived_at_the_start_pose(tmp_path: Path) -> None:
    ride = Ride(_moving(tmp_path))
    for _ in range(8):
        ride.tick()
    for _ in range(30):
        ride.at = np.nan
        assert ride.tick() is not Decision.RUN
    assert ride.rig.model.runs == 0
    assert ride.rig.pipeline.safety.decision is Decision.SAFE_STOP
    assert ride.rig.pipeline.safety.detail.startswith("a: nan away")


@pytest.mark.parametrize("outer", [STANDSTILL, TIPPED])
@pytest.mark.parametrize("released", [True, False])
def test_no_other_fault_hides_an_emergency_stop(
    tmp_path: Path, outer: Fault, released: bool
) -> None:
    rig = _velocity(tmp_path)
    _commands(rig, 1, 3)
    rig.pipeline.operator.hear_estop(True)
    if released:  # between two ticks
        rig.pipeline.operator.hear_estop(False)
    rig.joints("joints", 40 * MS, ["a"], velocity=[0.0])
    assert rig.pipeline.step(40 * MS, outer).decision is Decision.SAFE_STOP
    assert rig.pipeline.safety.reason is Reason.OPERATOR_STOP
    assert not rig.pipeline.safety.is_armed
    assert _commands(rig, 5, 50) == [0] * 50


def test_a_policy_that_takes_over_is_stopped_by_what_stopped_the_one_before(tmp_path: Path) -> None:
    rig, other, third = (_velocity(tmp_path) for _ in range(3))
    _commands(rig, 1, 3)
    rig.pipeline.operator.hear_estop(True)
    _commands(rig, 4, 1)
    rig.pipeline.operator.hear_estop(False)
    other.pipeline.continue_from(rig.pipeline)
    assert _commands(other, 5, 50) == [0] * 50
    assert other.pipeline.safety.reason is Reason.OPERATOR_STOP
    # This also applies after another activation: ~/arm was not called since.
    third.pipeline.continue_from(other.pipeline)
    third.pipeline.activate()
    third.joints("joints", 600 * MS, ["a"], velocity=[0.0])
    step = third.pipeline.step(600 * MS)
    assert (step.decision, step.command) == (Decision.STARTING, None)
    assert third.pipeline.safety.reason is Reason.NOT_ARMED


@pytest.mark.parametrize("fault", [STANDSTILL, TIPPED])
def test_a_policy_that_takes_over_is_in_the_stop_of_the_one_before(
    tmp_path: Path, fault: Fault
) -> None:
    rig = _velocity(tmp_path)
    other = _velocity(tmp_path)
    _commands(rig, 1, 3)
    rig.joints("joints", 40 * MS, ["a"], velocity=[0.0])
    assert rig.pipeline.step(40 * MS, fault).decision is fault.decision
    other.pipeline.continue_from(rig.pipeline)
    assert other.pipeline.safety.decision is fault.decision
    assert other.pipeline.safety.reason is fault.reason
    if fault is TIPPED:
        assert _commands(other, 5, 50) == [0] * 50


def test_arming_that_was_withdrawn_releases_no_emergency_stop(tmp_path: Path) -> None:
    rig = _velocity(tmp_path)
    _commands(rig, 1, 3)
    rig.pipeline.operator.hear_estop(True)
    _commands(rig, 4, 1)
    rig.pipeline.operator.hear_estop(False)
    rig.pipeline.operator.ask_to_arm(lambda _accepted, _why: False)
    assert _commands(rig, 5, 10) == [0] * 10
    rig.pipeline.activate()
    rig.joints("joints", 200 * MS, ["a"], velocity=[0.0])
    assert rig.pipeline.step(200 * MS).command is None
    assert rig.pipeline.safety.reason is Reason.NOT_ARMED


def test_a_policy_that_takes_over_in_a_ramp_has_what_is_left_of_it(tmp_path: Path) -> None:
    stops = StopRule(ramp_ns=40 * MS)
    rig, other = _velocity(tmp_path, stops=stops), _velocity(tmp_path, stops=stops)
    assert _commands(rig, 1, 4)[-1] == 4
    rig.pipeline.safety.disarm()
    assert _commands(rig, 5, 2) == [3, 2]
    assert rig.pipeline.manner.effort_share == 0.5
    exempt = rig.pipeline.exempt_steps.tolist()
    other.pipeline.continue_from(rig.pipeline)
    assert other.pipeline.exempt_steps.tolist() == exempt
    assert _commands(other, 7, 1) == [1]
    assert other.pipeline.manner.effort_share == 0.25  # efforts continue from there too
    assert _commands(other, 8, 2) == [0, 0]


def test_a_policy_that_takes_over_counts_the_jumps_on(tmp_path: Path) -> None:
    rig, other = _velocity(tmp_path), _velocity(tmp_path)
    _commands(rig, 1, 4)
    rig.pipeline.safety.disarm()
    assert _commands(rig, 5, 1) == [0]
    assert rig.pipeline.exempt_steps.tolist() == [1]
    other.pipeline.continue_from(rig.pipeline)
    assert other.pipeline.exempt_steps.tolist() == [1]
