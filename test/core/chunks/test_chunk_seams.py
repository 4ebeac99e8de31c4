"""Seams: no jump of value or rate, a bounded catch-up, and the named rules of others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from policy_runner.core.chunks.player import ChunkPlayer
from policy_runner.core.chunks.rules import ChunkRules
from policy_runner.core.model import Array

MS = 1_000_000
TICK = 10 * MS
DT = 20 * MS
CATCH_UP = 1.0


def player(size: int = 1, max_rate: Array | None = None, **rules: Any) -> ChunkPlayer:
    given: dict[str, Any] = {"steps": 50, "dt_ns": DT, **rules}
    return ChunkPlayer(ChunkRules(**given), size, TICK, max_rate)


def play(one: ChunkPlayer, ticks: range, chunks: dict[int, tuple[Array, int]]) -> Array:
    """The actions of the ticks; `chunks`: (actions, observed tick) by the tick of the offer."""
    found = []
    for tick in ticks:
        if tick in chunks:
            actions, observed = chunks[tick]
            assert one.offer(actions, observed * TICK, tick * TICK) == ""
        action = one.action_at(tick * TICK)
        assert action is not None
        found.append(action.copy())
    return np.array(found)


def flat(*values: float) -> Array:
    return np.tile(values, (50, 1))


@pytest.mark.parametrize("seam", ["cross_fade", "replace", "temporal_ensemble", "conservative"])
def test_the_start_from_standstill_fades_from_the_held_command(seam: str) -> None:
    one = player(2, seam=seam)
    one.hold(np.array([0.1, -0.3]))
    chunk = flat(0.5, -0.3)  # the first inference takes 0.7 s
    played = play(one, range(70, 150), {70: (chunk, 0), 95: (chunk, 90)})
    steps = np.diff(np.vstack([[0.1, -0.3], played]), axis=0)
    assert abs(steps[0, 0]) < CATCH_UP * 0.01
    assert np.abs(steps).max() <= CATCH_UP * 0.01 * 1.01
    assert np.all(steps[:, 0] >= -1e-12)  # no overshoot
    np.testing.assert_allclose(played[-1], [0.5, -0.3])


def test_the_return_after_starvation_fades_from_the_held_command() -> None:
    one = player(seam="replace")
    one.offer(flat(0.2), 0, 0)
    one.action_at(0)
    assert one.action_at(100 * TICK) is None
    one.hold(np.array([0.2]))
    played = play(one, range(110, 200), {110: (flat(-0.2), 109)})
    steps = np.diff(np.vstack([[0.2], played]), axis=0)
    assert np.abs(steps).max() <= CATCH_UP * 0.01 * 1.01
    assert played[-1, 0] == pytest.approx(-0.2)


def test_restart_begins_with_the_action_of_the_observation() -> None:
    rows = np.linspace(0.0, 0.49, 50)[:, None]
    clock, restart = player(), player(start="restart")
    for one in (clock, restart):
        one.hold(rows[0])
    at_clock = play(clock, range(70, 80), {70: (rows, 0)})
    at_restart = play(restart, range(70, 80), {70: (rows, 0)})
    assert at_restart[0, 0] < 0.01
    # The fade leads to index 35 at once, the restart plays from index 0 on.
    assert at_restart[-1, 0] == pytest.approx(0.045, abs=0.002)
    assert at_clock[-1, 0] > at_restart[-1, 0]
    assert restart.action_at(170 * TICK - 1) is not None  # its end has moved, too
    assert restart.action_at(170 * TICK) is None


@pytest.mark.parametrize("every", [3, 4, 10, 26])
def test_seams_are_continuous_in_value_and_rate(every: int) -> None:
    """The law of the fade: |step| <= the curves' own steps + catch-up, also with jumping chunks."""
    generator = np.random.default_rng(every)
    one = player(3)
    one.hold(np.zeros(3))
    chunks, rates = {}, []
    for tick in range(0, 400, every):
        rate = generator.uniform(-0.8, 0.8, 3)
        away = generator.uniform(-0.3, 0.3, 3)
        rates.append(np.abs(rate).max())
        rows = away + rate * np.arange(50)[:, None] * (DT / 1e9)
        chunks[tick] = (rows, tick - 2)
    played = play(one, range(400), chunks)
    steps = np.diff(np.vstack([np.zeros(3), played]), axis=0)
    assert np.abs(steps).max() <= (max(rates) + CATCH_UP) * 0.01 * 1.001
    # Rates change over several ticks; `replace` would change them by up to 0.6 rad / 10 ms.
    assert np.abs(np.diff(steps, axis=0)).max() < 0.009


@pytest.mark.parametrize("every", [3, 10])
def test_a_seam_during_a_fade_does_not_slow_it(every: int) -> None:
    one = player()
    one.hold(np.zeros(1))
    chunk = flat(0.4)
    played = play(one, range(60), {k: (chunk, k - 1) for k in range(0, 60, every)})
    # A gap of 0.4 rad closes in 0.6 s at 1 rad/s; alone it takes 54 ticks to 0.39.
    assert played[55, 0] > 0.39


def test_a_fade_takes_half_the_time_between_two_chunks() -> None:
    one = player()
    chunks = {0: (flat(0.0), -1), 40: (flat(0.02), 38), 80: (flat(0.04), 78)}
    played = play(one, range(120), chunks)
    assert played[79, 0] == pytest.approx(0.02)
    assert played[89, 0] == pytest.approx(0.03, abs=0.0015)
    assert played[95, 0] < 0.04
    assert played[99, 0] == pytest.approx(0.04)


def test_replace_stays_within_the_rate_limit_and_counts() -> None:
    one = player(seam="replace", max_rate=np.array([2.0]))
    played = play(one, range(60), {0: (flat(0.0), -1), 20: (flat(0.1), 19)})
    steps = np.diff(played[:, 0])
    assert np.abs(steps).max() == pytest.approx(0.02)
    assert one.report.limited == 4  # the fifth step of 0.02 arrives
    free = player(seam="replace")
    jump = play(free, range(60), {0: (flat(0.0), -1), 20: (flat(0.1), 19)})
    assert np.abs(np.diff(jump[:, 0])).max() == pytest.approx(0.1)


def test_the_ensemble_is_acts() -> None:
    """Golden: LeRobot's ACTTemporalEnsembler, chunk_size 4, m = 0.01, torch 2.13."""
    one = ChunkPlayer(
        ChunkRules(4, TICK, seam="temporal_ensemble", ensemble_coefficient=0.01), 1, TICK
    )
    chunks = {k: (10.0 * k + np.arange(4.0)[:, None], k) for k in range(6)}
    played = play(one, range(6), chunks)
    expected = [0.0, 5.4775, 10.94, 16.3875, 26.3875, 36.3875]
    np.testing.assert_allclose(played[:, 0], expected, atol=1e-5)
    assert not one.report.slow_ensemble


@pytest.mark.parametrize("m", [-0.1, 0.0, 0.01, 0.5])
def test_the_ensemble_equals_its_definition_and_keeps_zeros(m: float) -> None:
    """Exact zeros are predictions, too: the original drops them (imitate_episodes.py)."""
    generator = np.random.default_rng(1)
    tables = generator.normal(size=(20, 5, 2)).round(0)
    one = ChunkPlayer(
        ChunkRules(5, TICK, seam="temporal_ensemble", ensemble_coefficient=m), 2, TICK
    )
    played = play(one, range(20), {k: (tables[k], k) for k in range(20)})
    for tick in range(20):
        made = [tables[k][tick - k] for k in range(max(0, tick - 4), tick + 1)]
        weights = np.exp(-m * np.arange(len(made)))
        np.testing.assert_allclose(played[tick], weights @ np.array(made) / weights.sum())


def test_a_slow_ensemble_says_so() -> None:
    one = ChunkPlayer(ChunkRules(20, TICK, seam="temporal_ensemble"), 1, TICK)
    play(one, range(10), {k: (np.zeros((20, 1)), k) for k in range(0, 10, 3)})
    assert one.report.slow_ensemble


@pytest.mark.parametrize(
    ("name", "share"),
    [("weighted_average", 0.3), ("latest_only", 0.0), ("average", 0.5), ("conservative", 0.7)],
)
def test_aggregations_have_lerobots_shares(name: str, share: float) -> None:
    one = ChunkPlayer(ChunkRules(6, TICK, seam=name), 1, TICK)  # type: ignore[arg-type]
    old, new = np.arange(6.0)[:, None], 100.0 + np.arange(6.0)[:, None]
    played = play(one, range(10), {0: (old, 0), 4: (new, 4)})
    # Both have ticks 4 and 5; later ones only the new chunk has.
    for tick in (4, 5):
        assert played[tick, 0] == pytest.approx(share * tick + (1 - share) * (100 + tick - 4))
    assert played[6, 0] == pytest.approx(102.0)


def test_a_pause_without_questions_is_a_standstill() -> None:
    one = player()
    one.offer(flat(0.0), 0, 0)
    one.action_at(0)
    one.offer(flat(0.3), 40 * TICK, 41 * TICK)
    later = one.action_at(42 * TICK)
    assert later is not None
    assert 0.0 < later[0] < 0.01
