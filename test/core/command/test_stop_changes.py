"""Parameters or another policy change during a stop: no command jumps or keeps moving."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from command_rig import PERIOD, Bench, bench

from policy_runner.core.settings import CommandLimits, Settings, StopRule

RAMP = 4 * PERIOD
POSE = 0.25  # default pose of the rig


def _stops(b: Bench, count: int, latched: bool = False, element: int = 0) -> list[float]:
    found = []
    for _ in range(count):
        now = b.command.stop(b.settings, latched)
        assert now is not None
        found.append(round(float(now[element]), 6))
    return found


def _change(b: Bench, rule: StopRule, limits: CommandLimits | None = None) -> None:
    b.settings = replace(b.settings, stops=rule, limits=limits or b.settings.limits)


def _limits(high: float, step: float = math.inf) -> CommandLimits:
    return CommandLimits(np.array([-math.inf]), np.array([high]), np.array([step]))


def _took_over(b: Bench, pose: float = POSE, kinds: list[str] | None = None) -> Bench:
    """Another policy with another default pose continues from the command of `b`."""
    new = bench(kinds or b.kinds)
    new.command._pose[new.command._position] = pose
    new.settings = replace(b.settings, limits=CommandLimits.none(len(new.kinds)))
    new.command.continue_from(b.command, new.settings)
    return new


def test_the_default_pose_chosen_after_the_ramp_is_moved_to_and_not_jumped_to() -> None:
    b = bench(["position", "velocity"], stops=StopRule(ramp_ns=RAMP))
    b.command.follow(np.array([1.25, 3.0]), b.settings)
    assert _stops(b, 6) == [1.25] * 6
    _change(b, StopRule("default_pose", ramp_ns=RAMP))
    assert _stops(b, 5) == [1.0, 0.75, 0.5, 0.25, 0.25]
    assert b.command.values[1] == 0.0
    _change(b, StopRule("hold", ramp_ns=RAMP))
    assert _stops(b, 2) == [0.25, 0.25]


def test_a_velocity_ramp_stays_as_short_when_positions_begin_theirs() -> None:
    b = bench(["velocity", "position"], stops=StopRule(ramp_ns=RAMP))
    b.command.follow(np.array([4.0, 1.25]), b.settings)
    assert _stops(b, 2) == [3.0, 2.0]
    _change(b, StopRule("default_pose", ramp_ns=RAMP))
    assert _stops(b, 3) == [1.0, 0.0, 0.0]
    assert b.command.values[1] == pytest.approx(0.5)


@pytest.mark.parametrize("wider", [_limits(9.0), _limits(0.5, step=math.inf)])
def test_limits_that_widen_after_the_ramp_do_not_let_it_jump(wider: CommandLimits) -> None:
    b = bench(["position"], _limits(0.5, step=0.01), stops=StopRule("default_pose", ramp_ns=RAMP))
    b.command.follow(np.array([-3.0]), b.settings)
    assert _stops(b, 4) == [-2.99, -2.98, -2.97, -2.96]  # the rate limit is slower than the ramp
    _change(b, b.settings.stops, wider)
    steps = np.diff([-2.96, *_stops(b, 5)])
    assert steps == pytest.approx([0.8025] * 4 + [0.0])


@pytest.mark.parametrize("rule", [StopRule("hold"), StopRule("default_pose", ramp_ns=RAMP)])
def test_damping_that_ends_stands_where_the_joint_sank_to(rule: StopRule) -> None:
    b = bench(["position"], _limits(0.9), stops=StopRule("damping"))
    b.measured.positions[:] = 0.8
    b.command.follow(np.array([0.8]), b.settings)
    _stops(b, 3)
    b.measured.positions[:] = -0.75
    _change(b, rule)
    first = -0.75 if rule.position == "hold" else -0.5
    assert _stops(b, 1) == [first]
    assert not b.command.manner.damped
    assert b.command.exempt_steps.tolist() == [0]


def test_damping_that_ends_stands_within_the_bounds_and_where_nobody_measures_as_before() -> None:
    for measured, stands in ((5.0, 0.9), (math.nan, 0.8)):
        b = bench(["position"], _limits(0.9), stops=StopRule("damping"))
        b.command.follow(np.array([0.8]), b.settings)
        _stops(b, 2)
        b.measured.positions[:] = measured
        _change(b, StopRule("hold"))
        assert _stops(b, 2) == [stands, stands]


def test_a_hold_on_the_way_does_not_end_the_blend() -> None:
    b = bench(["position"], blend_in_ns=4 * PERIOD)
    b.measured.positions[:] = 0.0
    target = np.array([4.0])
    assert b.command.follow(target, b.settings).tolist() == [1.0]
    _stops(b, 1)
    # The blend restarts from the current command: 1 + (4 - 1) / 4.
    assert b.command.follow(target, b.settings).tolist() == [1.75]
    for _ in range(3):
        b.command.follow(target, b.settings)
    _stops(b, 1)
    assert b.command.follow(np.array([8.0]), b.settings).tolist() == [8.0]  # the blend has ended
    b.command.start_fresh()
    _stops(b, 1)
    assert b.command.follow(target, b.settings).tolist() == [7.0]


@pytest.mark.parametrize("latched", [False, True])
def test_a_reload_in_a_stop_does_not_jump_to_the_default_pose(latched: bool) -> None:
    rule = StopRule("default_pose", ramp_ns=RAMP)
    b = bench(["position"], stops=rule)
    b.command.follow(np.array([1.25]), b.settings)
    assert _stops(b, 1, latched) == [1.0]
    b = _took_over(b)
    assert _stops(b, 5, latched) == [0.8125, 0.625, 0.4375, 0.25, 0.25]
    b = _took_over(b, pose=1.05)  # a finished stop moves to the new pose
    assert _stops(b, 5, latched) == [0.45, 0.65, 0.85, 1.05, 1.05]


@pytest.mark.parametrize("period", [PERIOD, 2 * PERIOD])
def test_a_reload_in_a_stop_goes_on_with_the_ramp_that_is_left(period: int) -> None:
    b = bench(["velocity"], stops=StopRule(ramp_ns=RAMP))
    b.command.follow(np.array([4.0]), b.settings)
    assert _stops(b, 2) == [3.0, 2.0]
    assert b.command.manner.effort_share == 0.5
    b.settings = replace(b.settings, period_ns=period)
    b = _took_over(b)
    rest = [1.0, 0.0, 0.0] if period == PERIOD else [0.0]
    assert _stops(b, len(rest)) == rest
    assert b.command.manner.effort_share == 0.0


def test_a_reload_while_damped_stands_where_the_joint_is_once_it_no_longer_is() -> None:
    b = bench(["position"], stops=StopRule("damping"))
    b.command.follow(np.array([0.8]), b.settings)
    _stops(b, 2)
    b = _took_over(b)
    b.measured.positions[:] = 0.3
    assert _stops(b, 1) == [0.8]
    assert b.command.manner.damped
    _change(b, StopRule("hold"))
    assert _stops(b, 1) == [0.3]


def test_a_joint_that_the_policy_before_did_not_command_begins_where_it_is_measured() -> None:
    b = bench(["position"], stops=StopRule("hold"))
    b.command.follow(np.array([0.8]), b.settings)
    _stops(b, 1, latched=True)
    new = bench(["position", "position"], stops=StopRule("hold"))
    new.measured.positions[:] = [0.0, -0.7]
    new.command.continue_from(b.command, new.settings)
    assert _stops(new, 2, latched=True) == [0.8, 0.8]
    assert new.command.values.tolist() == [0.8, -0.7]


def test_limits_are_the_same_by_value() -> None:
    one = _limits(1.0, step=0.5)
    assert one.same_as(one)
    assert one.same_as(_limits(1.0, step=0.5))
    for other in (None, _limits(2.0, step=0.5), _limits(1.0), CommandLimits.none(2)):
        assert not one.same_as(other)


def test_settings_that_change_nothing_begin_no_ramp_anew() -> None:
    b = bench(["position"], stops=StopRule("default_pose", ramp_ns=RAMP))
    b.command.follow(np.array([1.25]), b.settings)
    found = []
    for _ in range(4):
        found += _stops(b, 1)
        b.settings = Settings(
            PERIOD, 1, {}, CommandLimits.none(1), stops=StopRule("default_pose", ramp_ns=RAMP)
        )
    assert found == [1.0, 0.75, 0.5, 0.25]
