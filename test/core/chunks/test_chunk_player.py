"""The clock rule: which action belongs to now, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from policy_runner.core.chunks.player import ChunkPlayer
from policy_runner.core.chunks.rules import ChunkRules
from policy_runner.core.model import Array

MS = 1_000_000
TICK = 10 * MS
DT = 20 * MS


def player(size: int = 1, max_rate: Array | None = None, **rules: Any) -> ChunkPlayer:
    given: dict[str, Any] = {"steps": 10, "dt_ns": DT, **rules}
    return ChunkPlayer(ChunkRules(**given), size, TICK, max_rate)


def ramp(count: int = 10, start: float = 0.0, step: float = 1.0) -> Array:
    return (start + step * np.arange(count))[:, None]


def test_the_action_of_now_belongs_to_the_age_of_the_observation() -> None:
    one = player()
    assert one.offer(ramp(), 0, 7 * TICK) == ""
    for tick in range(7, 19):
        action = one.action_at(tick * TICK)
        assert action is not None
        assert action[0] == pytest.approx(tick * TICK / DT, abs=1e-12)
        assert one.report.at_index == pytest.approx(tick * TICK / DT)


def test_the_last_action_is_valid_for_one_dt_and_then_there_is_none() -> None:
    one = player()
    one.offer(ramp(), 0, 0)
    played = [one.action_at(now) for now in (180 * MS, 199 * MS, 200 * MS - 1)]
    assert [None if a is None else a[0] for a in played] == [9.0, 9.0, 9.0]
    assert one.action_at(200 * MS) is None
    assert one.action_at(210 * MS) is None
    assert one.report.starved == 2
    assert one.report.at_index == -1


def test_waiting_for_the_first_chunk_is_not_starvation() -> None:
    one = player()
    assert one.action_at(0) is None
    assert one.report.starved == 0


@pytest.mark.parametrize(
    ("actions", "observed_ns", "now_ns", "why"),
    [
        (ramp(), 0, 200 * MS, "only 0.200 s long"),
        (ramp(), 11, 10, "in the future"),
        (ramp(1), 0, 0, "1 actions instead of 2 to 10"),
        (ramp(11), 0, 0, "11 actions instead of 2 to 10"),
        (np.zeros((4, 2)), 0, 0, r"shape \(4, 2\)"),
        (np.zeros(4), 0, 0, r"shape \(4,\)"),
        (np.array([[0.0], [math.nan], [1.0]]), 0, 0, "element 0 of action 1 is not finite"),
        (np.array([[0.0], [1.0], [-math.inf]]), 0, 0, "element 0 of action 2 is not finite"),
    ],
)
def test_a_chunk_that_cannot_be_played_is_refused_and_changes_nothing(
    actions: Array, observed_ns: int, now_ns: int, why: str
) -> None:
    with_old, alone = player(), player()
    for one in (with_old, alone):
        assert one.offer(ramp(), -100 * MS, -50 * MS) == ""
    reason = with_old.offer(actions, observed_ns, now_ns)
    assert why.replace("\\", "") in reason
    for now in range(-50 * MS, 80 * MS, TICK):
        a, b = with_old.action_at(now), alone.action_at(now)
        assert a is not None
        assert b is not None
        assert a[0] == b[0]
    assert (with_old.report.taken, with_old.report.refused) == (1, 1)


def test_an_older_observation_never_replaces_a_newer_one() -> None:
    one = player()
    assert one.offer(ramp(), 20 * MS, 30 * MS) == ""
    assert "older than the newest" in one.offer(ramp(), 20 * MS, 40 * MS)
    assert "older than the newest" in one.offer(ramp(), 10 * MS, 40 * MS)


def test_a_chunk_from_before_a_reset_is_never_played() -> None:
    one = player()
    one.offer(ramp(), 0, 0)
    one.action_at(50 * MS)
    one.reset()  # while an inference with the observation of this tick runs
    assert one.action_at(60 * MS) is None
    assert "from before a reset" in one.offer(ramp(), 50 * MS, 70 * MS)
    assert one.action_at(70 * MS) is None
    assert one.offer(ramp(), 60 * MS, 80 * MS) == ""
    one.reset(120 * MS)
    assert "from before a reset" in one.offer(ramp(), 119 * MS, 125 * MS)
    assert one.offer(ramp(), 120 * MS, 125 * MS) == ""


def test_a_clock_that_jumped_back_starts_again_after_a_reset() -> None:
    one = player(catch_up_rate=1000.0)
    one.offer(ramp(), 10**12, 10**12)
    one.action_at(10**12 + TICK)
    one.reset(5 * TICK)
    assert one.offer(ramp(), 5 * TICK, 6 * TICK) == ""
    one.action_at(7 * TICK)
    action = one.action_at(12 * TICK)  # after the fade from the last command
    assert action is not None
    assert action[0] == pytest.approx(3.5)


def test_actions_are_copies() -> None:
    one = player()
    given = ramp()
    one.offer(given, 0, 0)
    given[:] = 99.0
    first = one.action_at(TICK)
    assert first is not None
    assert first[0] == 0.5
    assert one.action_at(2 * TICK) is first  # one array that stays


def test_cubic_passes_the_actions_and_never_overshoots() -> None:
    generator = np.random.default_rng(4)
    one = player(3, interpolation="cubic", steps=30)
    rows = np.cumsum(generator.normal(size=(30, 3)), axis=0)
    one.offer(rows, 0, 0)
    times = np.arange(0, 29 * DT, MS)
    played = np.array([one.action_at(int(now)).copy() for now in times])  # type: ignore[union-attr]
    np.testing.assert_allclose(played[:: DT // MS], rows[:29], atol=1e-12)
    low = np.minimum(rows[:-1], rows[1:]).repeat(DT // MS, axis=0)
    high = np.maximum(rows[:-1], rows[1:]).repeat(DT // MS, axis=0)
    assert np.all((played >= low - 1e-12) & (played <= high + 1e-12))
    slopes = np.abs(np.diff(rows, axis=0))
    near = slopes.copy()
    near[1:] = np.maximum(near[1:], slopes[:-1])
    near[:-1] = np.maximum(near[:-1], slopes[1:])
    rates = np.abs(np.diff(played, axis=0)) * (DT / MS)
    assert np.all(rates <= 1.5 * near.repeat(DT // MS, axis=0)[: len(rates)] + 1e-9)
    jumps = np.abs(np.diff(rates, axis=0)).max()
    linear = np.abs(np.diff(slopes, axis=0)).max()
    assert jumps < linear / 2  # the rate is continuous, that of straight lines is not
