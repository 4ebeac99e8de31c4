"""Mixed chunks against the same rules, written as loops over single chunks and actions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_runner.core.chunks.curve import Curve
from policy_runner.core.chunks.mixing import Ensemble, aggregate

DT, STEPS, SIZE = 20, 6, 2
COUNTS = st.integers(2, STEPS)
SEEDS = st.integers(0, 2**32 - 1)


def curve(count: int, start_ns: int, cubic: bool, seed: int) -> Curve:
    """A chunk of random actions; the places behind its end are not numbers."""
    made = Curve(STEPS, SIZE, DT, cubic)
    made.rows.fill(np.nan)
    made.set(np.random.default_rng(seed).normal(size=(count, SIZE)), start_ns)
    return made


def at(one: Curve, now_ns: int) -> np.ndarray:
    out = np.empty(SIZE)
    one.read(now_ns, out)
    return out


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(COUNTS, st.integers(1, 3 * DT), st.booleans()), min_size=1, max_size=9),
    st.integers(-1, 4 * DT),
    st.sampled_from([0.01, -0.5, 2.0]),
    st.booleans(),
    SEEDS,
)
def test_an_ensemble_is_the_weighted_mean_of_its_chunks(
    pushed: list[tuple[int, int, bool]], later_ns: int, coefficient: float, cubic: bool, seed: int
) -> None:
    ensemble = Ensemble(STEPS, SIZE, coefficient, DT, cubic)
    kept: list[Curve] = []
    now = 0
    for number, (count, pause_ns, restarts) in enumerate(pushed):
        now += pause_ns
        chunk = curve(count, now, cubic, seed + number)
        ensemble.push(chunk)
        if restarts:
            chunk.start_ns = now + 3
            ensemble.restart(now + 3)
        kept = [*kept, chunk][-STEPS:]
    for now_ns in (now, now + later_ns, now + 2 * DT):
        while len(kept) > 1 and kept[0].last_ns < now_ns:
            kept = kept[1:]
        weights = [math.exp(-coefficient * order) for order in range(len(kept))]
        wanted = sum(w * at(one, now_ns) for w, one in zip(weights, kept, strict=True))
        out = np.empty(SIZE)
        ensemble.read(now_ns, out)
        np.testing.assert_allclose(out, wanted / sum(weights), rtol=1e-12, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(COUNTS, COUNTS, st.integers(-3 * DT, 8 * DT), st.booleans(), SEEDS)
def test_a_mixed_chunk_has_the_share_of_the_older_one_where_both_have_an_action(
    old_count: int, new_count: int, ahead_ns: int, cubic: bool, seed: int
) -> None:
    share = 0.3
    old = curve(old_count, 0, cubic, seed)
    new, plain = (curve(new_count, ahead_ns, cubic, seed + 1) for _ in range(2))
    wanted = plain.rows[:new_count].copy()
    for k in range(new_count):
        now_ns = ahead_ns + k * DT
        if 0 <= now_ns <= old.last_ns:
            wanted[k] = share * at(old, now_ns) + (1.0 - share) * wanted[k]
    aggregate(old, new, share, DT)
    np.testing.assert_allclose(new.rows[:new_count], wanted, rtol=1e-12, atol=1e-12)
    if cubic:  # its rates belong to the mixed actions
        again = Curve(STEPS, SIZE, DT, cubic)
        again.set(new.rows[:new_count], ahead_ns)
        assert at(new, ahead_ns + 7) == pytest.approx(at(again, ahead_ns + 7))


def test_an_older_chunk_without_an_action_changes_nothing() -> None:
    new = curve(4, 0, False, 0)
    before = new.rows.copy()
    aggregate(Curve(STEPS, SIZE, DT, False), new, 0.5, DT)
    aggregate(curve(4, 1000, False, 1), new, 0.5, DT)
    np.testing.assert_array_equal(new.rows, before)
