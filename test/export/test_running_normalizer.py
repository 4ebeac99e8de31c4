"""Running statistics: numpy's own figures, whatever the batches, merges and offsets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_runner.core.errors import Refusal
from policy_runner.export.running_normalizer import RunningNormalizer


def relative(got: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.max(np.abs(got - wanted) / np.abs(wanted)))


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 300), min_size=1, max_size=12),
    offset=st.sampled_from([0.0, 1.0, -1e3, 1e6]),
    workers=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_uneven_batches_and_merges_give_numpys_variance(
    sizes: list[int], offset: float, workers: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    batches = [random.normal(offset, 1.0, (size, 3)) for size in [*sizes, 20]]
    parts = [RunningNormalizer(3) for _ in range(workers)]
    for k, batch in enumerate(batches):
        parts[k % workers].update(batch)
    parts[0].merge(parts[1:])
    every = np.concatenate(batches)
    assert parts[0].count == len(every)
    assert relative(parts[0].var, every.var(axis=0)) < 1e-9
    assert np.max(np.abs(parts[0].mean - every.mean(axis=0))) < 1e-9 * max(1.0, abs(offset))


def test_single_samples_are_a_batch(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).normal(1e6, 1.0, (500, 2))
    one = RunningNormalizer(2)
    for sample in samples:
        one.update(sample)
    assert relative(one.var, samples.var(axis=0)) < 1e-9


def test_a_loaded_count_is_kept(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    learnt = RunningNormalizer(1)
    learnt.update(random.normal(0.0, 1.0, (100_000, 1)))
    learnt.save(tmp_path / "statistics.npz")
    loaded = RunningNormalizer.load(tmp_path / "statistics.npz")
    assert loaded.count == learnt.count
    assert loaded.mean.tobytes() == learnt.mean.tobytes()
    assert relative(loaded.var, learnt.var) < 1e-15
    loaded.update(np.full((100, 1), 5.0))
    assert abs(float(loaded.mean[0])) < 0.02  # 5 where the count had been forgotten


def test_statistics_without_a_count_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "old.npz", mean=np.zeros(2), var=np.ones(2))
    with pytest.raises(Refusal, match="count: expected this statistic, got mean, var"):
        RunningNormalizer.load(tmp_path / "old.npz")


def test_a_bad_sample_changes_nothing() -> None:
    one = RunningNormalizer(2)
    one.update([[1.0, 2.0], [3.0, 5.0]])
    before = (one.count, one.mean.tobytes(), one.var.tobytes())
    with pytest.raises(Refusal, match=r"samples\[1, 0\]: expected a finite number, got nan"):
        one.update([[1.0, 2.0], [np.nan, 2.0]])
    with pytest.raises(Refusal, match=r"expected \[n, 2\], got \[1, 3\]"):
        one.update([1.0, 2.0, 3.0])
    assert (one.count, one.mean.tobytes(), one.var.tobytes()) == before


def test_the_formula_is_sb3s() -> None:
    one = RunningNormalizer.of(np.array([1.0]), np.array([4.0]), 10)
    assert one.normalize([5.0])[0] == pytest.approx(4.0 / np.sqrt(4.0 + 1e-8), abs=1e-15)
    assert one.normalize([500.0], clip=10.0)[0] == 10.0
