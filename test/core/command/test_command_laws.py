"""Laws for every command: finite, within bounds, at its rate or counted, stopped by a stop.

They are checked with random policies, measurements, limits, stops and decisions.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from command_rig import PERIOD, Bench, bench
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_runner.core.settings import STOPPED, CommandLimits, Manner, StopRule

KINDS = ("position", "velocity", "effort", "twist", "value")
LARGE = st.floats(-1e3, 1e3)


@st.composite
def benches(draw: st.DrawFn) -> Bench:
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    size = len(kinds)
    low = draw(
        st.lists(st.one_of(st.just(-math.inf), st.floats(-5, 0)), min_size=size, max_size=size)
    )
    high = draw(
        st.lists(st.one_of(st.just(math.inf), st.floats(0, 5)), min_size=size, max_size=size)
    )
    step = draw(
        st.lists(st.one_of(st.just(math.inf), st.floats(1e-3, 2)), min_size=size, max_size=size)
    )
    limits = CommandLimits(np.array(low), np.array(high), np.array(step))
    rule = StopRule(
        draw(st.sampled_from(["hold", "default_pose", "damping"])),
        ramp_ns=draw(st.sampled_from([0, PERIOD, 5 * PERIOD + 1])),
        **{kind: draw(st.sampled_from(["zero", "zero", "hold"])) for kind in KINDS[1:]},
    )
    blend = draw(st.sampled_from([0, 3 * PERIOD]))
    return bench(kinds, limits, stops=rule, blend_in_ns=blend)


TICKS = st.lists(
    st.tuples(st.sampled_from(["run", "run", "move", "hold", "latch", "forget"]), LARGE, LARGE),
    max_size=40,
)


@settings(deadline=None, max_examples=150)
@given(benches(), TICKS)
def test_every_command_keeps_the_limits_and_stops(b: Bench, ticks: list[Any]) -> None:
    limits, rule, command = b.settings.limits, b.settings.stops, b.command
    before: np.ndarray | None = None
    stopped = 0  # ticks since the last run
    count = rule.ramp_ns // PERIOD
    for what, number, measured in ticks:
        b.measured.positions[:] = measured
        exempt = command.exempt_steps.copy()
        target = number * (1.0 + np.arange(len(b.kinds)))
        damped = command.manner.damped
        if what == "forget":
            command.forget()
            before, stopped = None, 0
            continue
        if what == "run":
            now = command.follow(target, b.settings)
        elif what == "move":
            now = command.move(np.where(b.others, 0.0, target), b.settings)
        else:
            now = command.stop(b.settings, what == "latch")
        if now is None:
            assert before is None
            continue
        assert np.all(np.isfinite(now))
        assert np.all(now >= limits.low)
        assert np.all(now <= limits.high)
        if before is not None and not (damped and what in ("run", "move")):
            far = np.abs(now - before) > limits.max_step * (1 + 1e-9) + 1e-9
            counted = command.exempt_steps > exempt
            assert np.all(far <= counted)
            assert not np.any(counted & ~b.others), "a position is never exempt"
        stopped = 0 if what in ("run", "move") else stopped + 1
        if stopped:
            zeroed = [k for k, kind in enumerate(b.kinds) if getattr(rule, kind) == "zero"]
            if stopped >= max(1, count):
                assert not np.any(now[zeroed])
            elif before is not None:
                assert np.all(np.abs(now[zeroed]) <= np.abs(before[zeroed]) + 1e-12)
            held = [k for k, kind in enumerate(b.kinds) if getattr(rule, kind) == "hold"]
            assert before is None or np.all(now[held] == before[held])
        before = now.copy()


@settings(deadline=None, max_examples=60)
@given(benches(), st.lists(LARGE, min_size=1, max_size=5))
def test_the_last_command_stops_all_that_moves(b: Bench, numbers: list[float]) -> None:
    for number in numbers:
        b.measured.positions[:] = number / 2
        b.command.follow(np.full(len(b.kinds), number), b.settings)
    positions = b.command.values[~b.others].copy()
    last = b.command.last(b.settings)
    assert last is not None
    assert not np.any(last[b.others])
    assert last[~b.others].tolist() == positions.tolist()
    assert b.command.manner == Manner(0.0, b.settings.stops.position == "damping")


def _limits(step: float = math.inf, low: float = -math.inf, high: float = math.inf) -> Any:
    return CommandLimits(np.array([low]), np.array([high]), np.array([step]))


def _stops(b: Bench, count: int) -> list[float]:
    found = []
    for _ in range(count):
        now = b.command.stop(b.settings)
        assert now is not None
        found.append(round(float(now[0]), 6))
    return found


@pytest.mark.parametrize("kind", KINDS[1:])
def test_zero_in_one_tick_is_exempt_and_counted(kind: str) -> None:
    b = bench([kind], _limits(step=1.0))
    for _ in range(4):
        b.command.follow(np.array([4.0]), b.settings)
    assert b.command.exempt_steps.tolist() == [0]
    assert _stops(b, 3) == [0.0, 0.0, 0.0]
    assert b.command.exempt_steps.tolist() == [1]
    assert b.command.manner == STOPPED


@pytest.mark.parametrize("kind", KINDS[1:])
def test_zero_within_the_ramp(kind: str) -> None:
    b = bench([kind], stops=StopRule(ramp_ns=4 * PERIOD))
    b.command.follow(np.array([4.0]), b.settings)
    assert b.command.manner.effort_share is None
    assert _stops(b, 5) == [3.0, 2.0, 1.0, 0.0, 0.0]
    assert b.command.manner.effort_share == 0.0
    b.command.follow(np.array([4.0]), b.settings)
    assert _stops(b, 2) == [3.0, 2.0], "a new stop restarts its ramp"


@pytest.mark.parametrize("kind", KINDS[1:])
def test_hold_holds_where_it_was_allowed(kind: str) -> None:
    b = bench([kind], stops=StopRule(**{kind: "hold"}))
    b.command.follow(np.array([4.0]), b.settings)
    assert _stops(b, 3) == [4.0, 4.0, 4.0]
    assert (b.command.manner.effort_share is None) == (kind == "effort")
    last = b.command.last(b.settings)
    assert last is not None
    assert last.tolist() == [0.0], "no command follows the last one"


def test_the_default_pose_at_the_rate_and_along_the_ramp() -> None:
    b = bench(["position"], _limits(step=0.5), stops=StopRule("default_pose"))
    b.measured.positions[:] = 1.5
    b.command.follow(np.array([1.5]), b.settings)
    assert _stops(b, 4) == [1.0, 0.5, 0.25, 0.25]
    b = bench(["position"], stops=StopRule("default_pose", ramp_ns=5 * PERIOD))
    b.command.follow(np.array([1.5]), b.settings)
    assert _stops(b, 6) == [1.25, 1.0, 0.75, 0.5, 0.25, 0.25]
    b = bench(["position"], _limits(high=0.2), stops=StopRule("default_pose", ramp_ns=PERIOD))
    b.command.follow(np.array([-1.0]), b.settings)
    assert _stops(b, 2) == [0.2, 0.2], "a pose outside the bounds is not gone to"


def test_after_damping_the_rate_counts_from_where_the_joint_sank_to() -> None:
    b = bench(["position"], _limits(step=0.1), stops=StopRule("damping"))
    b.measured.positions[:] = 1.0
    b.command.follow(np.array([1.0]), b.settings)
    assert _stops(b, 2) == [1.0, 1.0]
    assert b.command.manner.damped
    b.measured.positions[:] = 0.3
    assert b.command.follow(np.array([1.0]), b.settings).tolist() == [pytest.approx(0.4)]
    assert not b.command.manner.damped


def test_the_first_rate_counts_from_the_measured_position_within_the_bounds() -> None:
    b = bench(["position"], _limits(step=0.1, high=1.0))
    b.measured.positions[:] = 1.4
    assert b.command.follow(np.array([0.0]), b.settings).tolist() == [0.9]
    b = bench(["position"], _limits(step=0.1))
    assert b.command.follow(np.array([0.7]), b.settings).tolist() == [0.7], "it is not measured"


def test_bounds_that_narrow_win_over_the_rate_and_are_counted() -> None:
    b = bench(["position"], _limits(step=0.1))
    b.command.follow(np.array([2.0]), b.settings)
    b.settings = replace(b.settings, limits=_limits(step=0.1, high=1.0))
    assert _stops(b, 1) == [1.0]
    assert b.command.exempt_steps.tolist() == [1]


def test_blend_in_after_a_start_and_after_a_safe_stop_but_not_after_a_hold() -> None:
    b = bench(["position", "velocity"], blend_in_ns=4 * PERIOD)
    b.measured.positions[:] = [1.0, math.nan]
    target = np.array([3.0, 3.0])

    def run(count: int) -> list[list[float]]:
        return [b.command.follow(target, b.settings).tolist() for _ in range(count)]

    blended = [[1.5, 3], [2.0, 3], [2.5, 3], [3, 3], [3, 3]]
    assert run(5) == blended
    b.command.stop(b.settings)
    assert run(1) == [[3, 3]]
    b.command.stop(b.settings, latched=True)
    target = np.array([5.0, 3.0])
    assert run(2) == [[3.5, 3], [4.0, 3]]


def test_a_ramp_is_not_drawn_out_by_parameters_that_change_on_the_way() -> None:
    b = bench(["velocity"], stops=StopRule(ramp_ns=4 * PERIOD))
    b.command.follow(np.array([4.0]), b.settings)
    assert _stops(b, 2) == [3.0, 2.0]
    b.settings = replace(b.settings, stops=StopRule(ramp_ns=4 * PERIOD))
    assert _stops(b, 1) == [1.0]
    b.settings = replace(b.settings, stops=StopRule(ramp_ns=100 * PERIOD))
    assert _stops(b, 2) == [0.0, 0.0]
    b.command.follow(np.array([4.0]), b.settings)
    assert _stops(b, 2) == [3.96, 3.92]
    b.settings = replace(b.settings, stops=StopRule())
    assert _stops(b, 1) == [0.0]


@pytest.mark.parametrize("moving", [True, False])
def test_bounds_that_narrow_while_it_runs_are_counted_once(moving: bool) -> None:
    b = bench(["position"], _limits(step=0.1))
    go = b.command.move if moving else b.command.follow
    go(np.array([2.0]), b.settings)
    b.settings = replace(b.settings, limits=_limits(step=0.1, high=1.0))
    for _ in range(3):
        assert go(np.array([2.0]), b.settings).tolist() == [1.0]
    assert b.command.exempt_steps.tolist() == [1]


def test_a_stop_that_has_settled_still_hears_of_new_settings() -> None:
    b = bench(["position"], _limits(step=0.5))
    b.command.follow(np.array([2.0]), b.settings)
    assert _stops(b, 4) == [2.0] * 4
    b.settings = replace(b.settings, stops=StopRule("default_pose"))
    assert _stops(b, 5) == [1.5, 1.0, 0.5, 0.25, 0.25]
    b.settings = replace(b.settings, limits=_limits(step=0.5, high=0.0))
    assert _stops(b, 2) == [0.0, 0.0]
    b.command.follow(np.array([-0.5]), b.settings)
    assert _stops(b, 2) == [0.0, 0.0]
