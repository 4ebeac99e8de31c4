"""Normalization, compared with values computed by hand, and its laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_runner.core.observation.normalization import (
    Normalizer,
    build_normalizer,
    resolve_formula,
)
from policy_runner.core.spec import Normalization


def _normalizer(statistics: dict[str, list[float]], **keys: Any) -> Normalizer:
    spec = Normalization(statistics=statistics, **keys)
    arrays = {name: np.array(values, dtype=np.float64) for name, values in statistics.items()}
    return build_normalizer(
        resolve_formula(spec, "f", "k"),
        arrays,
        {str(k): v for k, v in spec.keys.items()},
        len(statistics["mean"]),
        "f",
    )


def _apply(normalizer: Normalizer, x: list[float]) -> list[float]:
    out = np.zeros(len(x))
    normalizer.normalize(np.array(x), out)
    return out.tolist()


# preset: the value computed by hand, for std 0.005 and x - mean 0.01.
BY_HAND = {
    "sb3": 0.01 / 0.0050009999000199950,  # sqrt(2.5e-5 + 1e-8)
    "rsl_rl": 0.01 / 0.015,
    "rl_games": 0.01 / 0.005916079783099616,  # sqrt(3.5e-5)
    "skrl": 0.01 / 0.00500001,
}
ROUNDED = {"sb3": 2.0, "rsl_rl": 0.67, "rl_games": 1.69, "skrl": 2.0}


@pytest.mark.parametrize("stored", ["std", "var"])
@pytest.mark.parametrize("preset", BY_HAND)
def test_presets_by_hand(preset: str, stored: str) -> None:
    spread = 0.005 if stored == "std" else 0.000025
    (value,) = _apply(_normalizer({"mean": [0.3], stored: [spread]}, preset=preset), [0.31])
    assert value == pytest.approx(BY_HAND[preset], rel=1e-12)
    assert round(value, 2) == pytest.approx(ROUNDED[preset], abs=0)


@pytest.mark.parametrize(
    ("preset", "low", "high"),
    [
        ("sb3", -10.0, 10.0),
        ("rsl_rl", -1e5 / 1.01, 1e5 / 1.01),
        ("rl_games", -5, 5),
        ("skrl", -5, 5),
    ],
)
def test_presets_clip_where_their_trainer_does(preset: str, low: float, high: float) -> None:
    normalizer = _normalizer({"mean": [0.0, 0.0], "std": [1.0, 1.0]}, preset=preset)
    assert _apply(normalizer, [-1e5, 1e5]) == pytest.approx([low, high])


@pytest.mark.parametrize(
    ("formula", "in_root", "expected"),
    [
        # x - mean = 3, std = 2, var = 4, eps = 0.5
        ("mean_std", False, 3 / 2.5),
        ("mean_std", True, 3 / 4.5**0.5),
        ("mean_var", False, 3 / 2.5),
        ("mean_var", True, 3 / 4.5**0.5),
    ],
)
@pytest.mark.parametrize("stored", [{"std": [2.0]}, {"var": [4.0]}])
def test_eps_in_and_out_of_the_root(
    formula: str, in_root: bool, expected: float, stored: dict[str, list[float]]
) -> None:
    normalizer = _normalizer(
        {"mean": [-1.0], **stored}, formula=formula, eps=0.5, eps_in_sqrt=in_root
    )
    assert _apply(normalizer, [2.0]) == pytest.approx([expected], rel=1e-12)


def test_keys_of_the_spec_win_over_the_preset() -> None:
    statistics = {"mean": [0.0], "std": [1.0]}
    assert _apply(_normalizer(statistics, preset="sb3", clip=[-2, None]), [-7.0]) == [-2.0]
    assert _apply(_normalizer(statistics, preset="sb3", clip=[-2, None]), [77.0])[0] > 76
    assert _apply(_normalizer(statistics, preset="rsl_rl", eps=0.0), [7.0]) == [7.0]
    assert _apply(_normalizer(statistics, preset="rsl_rl", eps=3.0, eps_in_sqrt=True), [7.0]) == [
        3.5
    ]


def test_file_with_both_takes_the_formulas_own() -> None:
    both = {"mean": [0.0], "std": [2.0], "var": [100.0]}
    (by_std,) = _apply(_normalizer(both, formula="mean_std", eps=0, eps_in_sqrt=False), [4.0])
    (by_var,) = _apply(_normalizer(both, formula="mean_var", eps=0, eps_in_sqrt=False), [4.0])
    assert (by_std, by_var) == (2.0, 0.4)


def test_in_place() -> None:
    normalizer = _normalizer({"mean": [1.0, 2.0], "std": [2.0, 4.0]}, preset="rsl_rl", eps=0.0)
    x = np.array([5.0, -2.0])
    normalizer.normalize(x, x)
    assert x.tolist() == [2.0, -1.0]


NUMBER = st.floats(-1e3, 1e3)


@given(x=NUMBER, mean=NUMBER, std=st.floats(1e-3, 1e3), preset=st.sampled_from(list(BY_HAND)))
def test_denormalize_undoes_normalize_inside_the_clip(
    x: float, mean: float, std: float, preset: str
) -> None:
    normalizer = _normalizer({"mean": [mean], "std": [std]}, preset=preset)
    y = np.array(_apply(normalizer, [x]))
    if normalizer.low < y[0] < normalizer.high:
        # skrl has no eps on the way back, so its result is (x - mean) eps / std too small.
        lost = 1e-8 * abs(x - mean) / std if preset == "skrl" else 0.0
        assert normalizer.denormalize(y)[0] == pytest.approx(x, rel=1e-9, abs=1e-9 + 1.001 * lost)
    else:
        assert y[0] in (normalizer.low, normalizer.high)
