"""Statistics from a stand-in for a VecNormalize object; SB3 is not needed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from policy_runner.formats.sb3_statistics import normalization_statistics, write_statistics


def normalizer(mean: Any, var: Any, norm_obs: bool = True) -> Any:
    return SimpleNamespace(norm_obs=norm_obs, obs_rms=SimpleNamespace(mean=mean, var=var))


def test_written_statistics_load_without_pickle_and_are_the_same(tmp_path: Path) -> None:
    mean, var = np.array([0.5, -2.0, 1e-9]), np.array([1.0, 0.25, 3.0])
    path = tmp_path / "statistics.npz"
    write_statistics(normalizer(mean, var), path)
    with np.load(path, allow_pickle=False) as file:
        assert sorted(file) == ["mean", "var"]
        assert file["mean"].dtype == file["var"].dtype == np.float64
        assert np.array_equal(file["mean"], mean)
        assert np.array_equal(file["var"], var)


def test_the_statistics_are_a_copy() -> None:
    original = np.zeros(2)
    mean, _ = normalization_statistics(normalizer(original, np.ones(2)))
    original += 5.0
    assert np.array_equal(mean, [0.0, 0.0])


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (normalizer(np.zeros(2), np.ones(2), norm_obs=False), "norm_obs is false"),
        (normalizer(np.zeros(2), np.ones(3)), r"shapes \(2,\) and \(3,\)"),
        (normalizer(np.zeros((1, 2)), np.ones((1, 2))), "vectors of one length"),
        (normalizer(np.array([0.0, np.nan]), np.ones(2)), "finite means"),
        (normalizer(np.zeros(2), np.array([1.0, -1.0])), "variances of at least 0"),
        (SimpleNamespace(norm_obs=True, obs_rms={"image": 1, "state": 2}), "dict of image, state"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(made: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        normalization_statistics(made)
