"""Presets of LeRobot and openpi computed by hand, statistics in groups, and per term."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, FakeModel, make_rig, refused, spec_content, term
from hypothesis import given
from hypothesis import strategies as st

from policy_runner.core.observation.normalization import (
    Normalizer,
    build_normalizer,
    resolve_formula,
)
from policy_runner.core.spec import Normalization

# mean 2, std 0.5, min -1, max 3, q01 -0.9, q99 2.1, q10 0, q90 2; x = 2.25.
STORED = {
    "mean": [2.0], "std": [0.5], "var": [0.25], "min": [-1.0], "max": [3.0],
    "q01": [-0.9], "q99": [2.1], "q10": [0.0], "q90": [2.0],
}  # fmt: skip
X = 2.25
# preset: (normalized, denormalized from that), each computed by hand.
BY_HAND: dict[str, tuple[float, float]] = {
    "sb3": (0.25 / (0.25 + 1e-8) ** 0.5, X),
    "rsl_rl": (0.25 / 0.51, X),
    "rl_games": (0.25 / (0.25 + 1e-5) ** 0.5, X),
    "skrl": (0.25 / (0.5 + 1e-8), 2.0 + 0.5 * 0.25 / (0.5 + 1e-8)),
    "lerobot_mean_std": (0.25 / (0.5 + 1e-8), 2.0 + 0.5 * 0.25 / (0.5 + 1e-8)),
    "lerobot_min_max": (2 * 3.25 / 4 - 1, X),
    "lerobot_quantiles": (2 * 3.15 / 3 - 1, X),
    "lerobot_quantile10": (2 * 2.25 / 2 - 1, X),
    "lerobot_identity": (X, X),
    "openpi_z": (0.25 / (0.5 + 1e-6), X),
    "openpi_quantile": (3.15 / (3.0 + 1e-6) * 2 - 1, X),
}


def _normalizer(statistics: dict[str, list[float]], **keys: Any) -> Normalizer:
    spec = Normalization(statistics=statistics, **keys)
    arrays = {name: np.array(values, dtype=np.float64) for name, values in statistics.items()}
    return build_normalizer(
        resolve_formula(spec, "f", "k"), arrays, {}, len(next(iter(statistics.values()))), "f"
    )


def _apply(normalizer: Normalizer, x: float) -> float:
    out = np.zeros(1)
    normalizer.normalize(np.array([x]), out)
    return float(out[0])


def test_every_preset_is_here() -> None:
    from policy_runner.core.observation.normalization import PRESETS

    assert set(BY_HAND) == set(PRESETS)


@pytest.mark.parametrize("preset", BY_HAND)
def test_both_ways_by_hand(preset: str) -> None:
    normalizer = _normalizer(STORED, preset=preset)
    there, back = BY_HAND[preset]
    assert _apply(normalizer, X) == pytest.approx(there, rel=1e-14)
    assert float(normalizer.denormalize(np.array([there]))[0]) == pytest.approx(back, rel=1e-14)


def test_ends_of_a_span_are_minus_one_and_one() -> None:
    for preset, low, high in (("lerobot_min_max", -1, 3), ("lerobot_quantiles", -0.9, 2.1)):
        normalizer = _normalizer(STORED, preset=preset)
        assert [_apply(normalizer, x) for x in (low, high)] == pytest.approx([-1, 1], abs=1e-15)


def test_a_span_of_zero() -> None:
    """LeRobot replaces the span by eps, so that the low end is -1; openpi always adds eps."""
    flat = {"min": [4.0], "max": [4.0], "q01": [4.0], "q99": [4.0]}
    lerobot = _normalizer(flat, preset="lerobot_min_max")
    assert _apply(lerobot, 4.0) == -1.0
    assert _apply(lerobot, 4.0 + 1e-8) == pytest.approx(1.0, abs=1e-6)
    openpi = _normalizer(flat, preset="openpi_quantile")
    assert _apply(openpi, 4.0) == pytest.approx(-1.0, abs=1e-9)
    assert _apply(openpi, 4.0 + 1e-6) == pytest.approx(1.0, abs=1e-6)


NUMBER = st.floats(-100, 100)


@given(
    preset=st.sampled_from(sorted(BY_HAND)),
    x=NUMBER,
    mean=NUMBER,
    spread=st.floats(1e-2, 100),
)
def test_there_and_back(preset: str, x: float, mean: float, spread: float) -> None:
    low, high = mean - spread / 2, mean + spread / 2
    statistics = {
        "mean": [mean], "std": [spread],
        **{key: [low] for key in ("min", "q01", "q10")},
        **{key: [high] for key in ("max", "q99", "q90")},
    }  # fmt: skip
    normalizer = _normalizer(statistics, preset=preset)
    y = _apply(normalizer, x)
    inside = bool(normalizer.low < y < normalizer.high)
    # Denormalization has no eps, so (x - mean) eps / (spread + eps) is lost.
    lost = {"skrl": 1e-8, "lerobot_mean_std": 1e-8}.get(preset, 0.0) * abs(x - mean) / spread
    if inside:
        back = float(normalizer.denormalize(np.array([y]))[0])
        assert back == pytest.approx(x, rel=1e-11, abs=1e-10 + 1.01 * lost)


def test_a_formula_in_parts() -> None:
    parts = {"formula": "quantile10", "eps": 0.5, "clip": [-1.0, 1.0]}
    assert _apply(_normalizer(STORED, **parts), 1.0) == pytest.approx(2 * 1.0 / 2.5 - 1)
    assert _apply(_normalizer(STORED, **parts), 99.0) == 1.0
    with pytest.raises(Exception, match="expected `preset`, or all of formula, eps, got no eps"):
        _normalizer(STORED, formula="min_max")


def test_an_upper_end_below_the_lower() -> None:
    (sentence,) = refused(_normalizer, {"min": [1.0], "max": [0.5]}, preset="lerobot_min_max")
    assert sentence == "f: max[0]: expected at least min, 1, got 0.5"


INPUTS = {"imu": {"type": "sensor_msgs/msg/Imu", "topic": "imu"}}
TERMS = [
    term("field", name="rate", input="imu", field="angular_velocity"),
    term("field", name="pull", input="imu", field="linear_acceleration"),
    term("constant", name="one", value=[1.0]),
]


def _seen(folder: Path, normalization: Any, size: int = 7, **keys: Any) -> list[list[float]]:
    tensor = {"tensor": "obs", "terms": TERMS, "normalization": normalization, **keys}
    content = spec_content(inputs=INPUTS, observation=[tensor])
    model = FakeModel({"obs": np.zeros((1, size))}, {"act": (1, 2)})
    rig = make_rig(folder, content, model)
    for k in range(2):
        rig.feed("imu", MS, angular_velocity=[1.0 + k, 2.0, 3.0], linear_acceleration=[0, 5, 10])
        rig.pipeline.step(MS)
    return [seen["obs"][0].tolist() for seen in model.seen]


PER_TERM = {
    "per_term": {
        "rate": {"formula": "mean_std", "eps": 0, "eps_in_sqrt": False, "clip": [None, 1.5],
                 "statistics": {"mean": [1, 1, 1], "std": [1, 1, 1]}},
        "pull": {"preset": "lerobot_min_max", "statistics": "stats.json", "group": "pull.data"},
        "one": "none",
    }
}  # fmt: skip


def test_each_term_its_own(tmp_path: Path) -> None:
    stats = {"pull.data": {"min": [0, 0, 0], "max": [10, 10, 10]}, "other": {"min": [1]}}
    (tmp_path / "stats.json").write_text(json.dumps(stats))
    expected = [[0, 1, 1.5, -1, 0, 1, 1], [1, 1, 1.5, -1, 0, 1, 1]]
    assert _seen(tmp_path, PER_TERM) == expected
    history = {"stack": "term", "order": "oldest_first", "length": 2, "fill": "repeat"}
    found = _seen(tmp_path, PER_TERM | {"on": "frame"}, 14, history=history)
    assert found[1] == [0, 1, 1.5, 1, 1, 1.5, -1, 0, 1, -1, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda n: n["per_term"].pop("one"), "per_term.one: expected a normalization, or none"),
        (lambda n: n["per_term"].update(puls="none"), "'puls'; did you mean 'pull'?"),
        (lambda n: n["per_term"]["pull"].update(group="pul"), "group: expected one of pull.data"),
        (lambda n: n["per_term"]["pull"].pop("group"), "the key `group` that says which mapping"),
        (
            lambda n: n["per_term"]["rate"]["statistics"].update(mean=[1, 1]),
            "mean: expected 3 numbers, one per element of the observation, got 2",
        ),
    ],
)
def test_statistics_of_terms_that_do_not_fit(tmp_path: Path, change: Any, expected: str) -> None:
    (tmp_path / "stats.json").write_text('{"pull.data": {"min": [0, 0, 0], "max": [1, 1, 1]}}')
    normalization = json.loads(json.dumps(PER_TERM))
    change(normalization)
    (sentence,) = refused(_seen, tmp_path, normalization)
    assert expected in sentence


def test_groups_inside_groups(tmp_path: Path) -> None:
    stats = {"norm_stats": {"state": {"mean": [1] * 7, "std": [2] * 7, "q01": [0] * 7}}}
    (tmp_path / "norm_stats.json").write_text(json.dumps(stats))
    given = {
        "preset": "openpi_z", "eps": 0.0, "statistics": "norm_stats.json",
        "group": ["norm_stats", "state"],
    }  # fmt: skip
    assert _seen(tmp_path, given)[0] == [0, 0.5, 1, -0.5, 2, 4.5, 0]


def test_flat_names_with_a_group(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "s.npz",
        **{"observation.state.mean": np.ones(7), "observation.state.std": np.full(7, 2.0)},
        **{"action.mean": np.ones(2)},
    )
    given = {"preset": "openpi_z", "eps": 0.0, "statistics": "s.npz"}
    expected = [0, 0.5, 1, -0.5, 2, 4.5, 0]
    assert _seen(tmp_path, given | {"group": "observation.state"})[0] == expected
    (sentence,) = refused(_seen, tmp_path, given | {"group": "state"})
    assert "group: expected names that begin with 'state.'" in sentence
    keys = {"mean": "observation.state.mean", "std": "observation.state.std"}
    assert _seen(tmp_path, given | {"keys": keys})[0] == expected


def test_an_action_comes_back_without_eps(tmp_path: Path) -> None:
    """LeRobot's actions are y std + mean; with a std near eps, an added eps would be visible."""
    content = spec_content(inputs=INPUTS)
    content["observation"] = [{"tensor": "obs", "terms": TERMS, "normalization": "none"}]
    content["action"][0]["denormalization"] = {
        "preset": "lerobot_mean_std",
        "statistics": {"mean": [1.0, 2.0], "std": [3.0, 1e-8]},
    }
    model = FakeModel(
        {"obs": (1, 7)}, {"act": np.zeros((1, 2))}, lambda inputs: {"act": [[2.0, 1e8]]}
    )
    rig = make_rig(tmp_path, content, model)
    rig.feed("imu", MS, angular_velocity=[0, 0, 0], linear_acceleration=[0, 0, 0])
    step = rig.pipeline.step(MS)
    assert step.command is not None
    assert step.command.tolist() == pytest.approx([7.0, 3.0])
