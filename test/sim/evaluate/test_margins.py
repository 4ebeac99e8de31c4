"""Confidence, margins on both sides of the nominal, and their comparison with a robot's figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_runner.core.black_box.records import Received, Tick
from policy_runner.core.safety.decision import Decision, Reason
from policy_runner.sim.evaluate.measured import (
    Measured,
    comparisons,
    from_black_box,
    from_diagnostics,
)
from policy_runner.sim.evaluate.summary import wilson
from policy_runner.sim.evaluate.sweep import Margin, Sweep, margin_of
from policy_runner.telemetry.recording.diagnostics_cdr import Status


@given(st.integers(1, 500), st.data())
def test_the_interval_contains_the_share_and_mirrors(total: int, data: Any) -> None:
    count = data.draw(st.integers(0, total))
    low, high = wilson(count, total)
    assert 0.0 <= low <= count / total <= high <= 1.0
    mirrored = wilson(total - count, total)
    assert np.allclose(mirrored, (1.0 - high, 1.0 - low), atol=1e-12)
    wider = wilson(count, total, 2.6)
    assert wider[0] <= low
    assert wider[1] >= high


def test_the_interval_is_that_of_the_literature() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), 857, table I, method 3: 81 of 263, 15 of 148.
    assert np.allclose(wilson(81, 263), (0.2553, 0.3662), atol=5e-5)
    assert np.allclose(wilson(15, 148), (0.0624, 0.1605), atol=5e-5)
    assert np.allclose(wilson(0, 20), (0.0, 0.1611), atol=5e-5)


def margin(falls: list[int], start: float, nominal: float) -> Any:
    values = tuple(start + 0.25 * k for k in range(len(falls)))
    figures: Any = [{"falls": count} for count in falls]
    return margin_of(Sweep("mass", values), figures, nominal)


def test_a_margin_ends_before_the_first_fall_on_each_side() -> None:
    found = margin([3, 0, 1, 0, 0, 0, 2, 0], 0.25, 1.0)
    assert (found.falls_below, found.low, found.high, found.falls_above) == (0.75, 1.0, 1.5, 1.75)


def test_a_side_without_values_has_no_margin() -> None:
    found = margin([0, 0, 1], 1.0, 1.0)
    assert (found.low, found.falls_below) == (None, None)
    assert (found.high, found.falls_above) == (1.25, 1.5)


def test_a_policy_that_falls_at_the_nominal_has_no_margin() -> None:
    found = margin([1, 0, 0], 1.0, 1.0)
    assert (found.high, found.falls_above) == (None, 1.0)


def loop_status(delay_us: float | None, rate: float) -> list[Status]:
    values = {"rate [Hz]": str(rate)}
    if delay_us is not None:
        values["input to action p99 [us]"] = str(delay_us)
    return [Status(0, "runner: loop", "", "", values), Status(0, "runner: power", "", "", {})]


def test_the_worst_figures_of_a_recording_count() -> None:
    rows = [(0, loop_status(None, 0.0)), (1, loop_status(8e3, 100.0)), (2, loop_status(31e3, 88.0))]
    found = from_diagnostics(rows)
    assert (found.delay_s, found.rate_hz) == (0.031, 88.0)


def test_a_black_box_gives_age_plus_inference() -> None:
    records: list[Any] = []
    for k in range(1, 201):
        now = k * 10_000_000
        records.append(Received("imu", b"", now - 2_000_000, None, "now"))
        if k % 2:
            records.append(Received("joints", b"", now - 1_000_000, None, "now"))
        raw = np.zeros(2)
        records.append(Tick(now, 500_000, Decision.RUN, Reason.NONE, np.zeros(2), raw))
    found = from_black_box(records)
    assert found.delay_s == pytest.approx(0.0115)  # the joints of the tick before, 11 ms old
    assert found.rate_hz == pytest.approx(100.0)


@pytest.mark.parametrize(("delay_s", "small"), [(0.031, True), (0.029, False)])
def test_a_margin_smaller_than_the_measured_delay_is_told(delay_s: float, small: bool) -> None:
    found = [Margin("command_delay", 0.0, None, 0.03, None, 0.04), Margin("mass", 1, 0.5, 2, 0, 3)]
    ((text, is_small),) = comparisons(found, Measured(delay_s, 100.0, ""))
    assert is_small is small
    assert ("smaller than the measured 0.031 s" in text) is small


def test_a_sweep_without_a_fall_is_never_too_small() -> None:
    found = [Margin("command_delay", 0.0, None, 0.03, None, None)]
    assert comparisons(found, Measured(0.2, None, ""))[0][1] is False


@pytest.mark.parametrize(("delay_s", "verdict"), [(0.03, "covers"), (0.2, "was not swept to")])
def test_a_sweep_covers_only_what_it_reached(delay_s: float, verdict: str) -> None:
    found = [Margin("command_delay", 0.0, None, 0.03, None, None)]
    ((text, _),) = comparisons(found, Measured(delay_s, None, ""))
    assert f"the margin (up to 0.03 s) {verdict} the measured {delay_s:g} s" in text
