"""Chunks in the spec: shapes, indices, relative and delta actions, statistics per step."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chunk_rig import bind, bound, content, measure
from core_rig import FakeModel, refused, write_spec

from policy_runner.core.chunks.rules import ChunkRules, chunk_rules
from policy_runner.core.spec import read_spec

STEPS = 4


def act(shape: tuple[int, ...] = (1, STEPS, 2), **inputs: Any) -> FakeModel:
    rows = np.arange(STEPS * 2, dtype=np.float32).reshape(shape)
    return FakeModel({"obs": (1, 2), **inputs}, {"act": rows})


@pytest.mark.parametrize("shape", [(1, STEPS, 2), (STEPS, 2), (1, STEPS * 2), (STEPS * 2,)])
def test_every_shape_of_a_chunk(tmp_path: Path, shape: tuple[int, ...]) -> None:
    chunk = {} if len(shape) != 1 and shape[-1] == 2 else {"steps": STEPS}
    found, _ = bound(tmp_path, content(chunk), act(shape))
    decoded = found.decoder.decode()
    assert isinstance(decoded, np.ndarray)
    assert decoded.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_the_observed_index_comes_first_and_the_count_is_cut(tmp_path: Path) -> None:
    given = content({"observed_index": 1, "n_action_steps": 2}, scale=0.5, offset=1.0)
    found, _ = bound(tmp_path, given, act())
    decoded = found.decoder.decode()
    assert isinstance(decoded, np.ndarray)
    assert decoded.tolist() == [[2.0, 2.5], [3.0, 3.5]]


def test_relative_actions_start_from_the_state_of_the_observation(tmp_path: Path) -> None:
    found, slot = bound(tmp_path, content(relative_to="measured"), act())
    measure(slot, 10.0, 20.0)
    decoded = found.decoder.decode()
    assert isinstance(decoded, np.ndarray)
    assert decoded.tolist() == [[10, 21], [12, 23], [14, 25], [16, 27]]


def test_delta_actions_add_up_from_the_state_of_the_observation(tmp_path: Path) -> None:
    given = content({"observed_index": 1}, relative_to="previous_target", scale=0.1)
    found, slot = bound(tmp_path, given, act())
    measure(slot, 10.0, 20.0)
    decoded = found.decoder.decode()
    assert isinstance(decoded, np.ndarray)
    np.testing.assert_allclose(decoded, [[10.2, 20.3], [10.6, 20.8], [11.2, 21.5]])


def test_statistics_per_step(tmp_path: Path) -> None:
    given = content({"denormalization": "per_step", "observed_index": 1})
    mean, std = np.arange(8.0), 1.0 + np.arange(8.0)
    statistics = {"mean": mean.tolist(), "std": std.tolist()}
    given["action"][0]["denormalization"] = {
        "formula": "mean_std", "eps": 0.0, "eps_in_sqrt": False, "statistics": statistics,
    }  # fmt: skip
    found, _ = bound(tmp_path, given, act())
    decoded = found.decoder.decode()
    raw = np.arange(8.0)
    np.testing.assert_allclose(decoded, (raw * std + mean).reshape(4, 2)[1:])


def test_clip_and_rounding_and_squash_act_on_every_step(tmp_path: Path) -> None:
    given = content(
        squash="tanh", scale=2.0, clip=[-1.0, 1.95], round={"step": 0.5, "of": "target"}
    )
    found, _ = bound(tmp_path, given, act())
    decoded = found.decoder.decode()
    raw = np.arange(8.0).reshape(4, 2)
    expected = np.round(np.clip(2 * np.tanh(raw), -1, 1.95) / 0.5) * 0.5
    np.testing.assert_allclose(decoded, expected)


def test_a_number_in_the_middle_that_is_not_finite_refuses_the_chunk(tmp_path: Path) -> None:
    model = act()
    found, _ = bound(tmp_path, content({"n_action_steps": 2}), model)
    model.outputs["act"][0, 3, 1] = math.nan  # also in an action that is not played
    assert found.decoder.decode() == "action 3 of the chunk is not finite (b)"


@pytest.mark.parametrize(
    ("chunk", "group", "expected"),
    [
        ({"dt": 0}, {}, "chunk.dt: expected greater than 0, got 0"),
        ({"dt": -0.1}, {}, "chunk.dt: expected greater than 0"),
        ({"steps": 1}, {}, "chunk.steps: expected greater than or equal to 2, got 1"),
        ({"steps": 4, "n_action_steps": 5}, {}, "chunk.n_action_steps: expected at most 4"),
        ({"steps": 4, "n_action_steps": 3, "observed_index": 2}, {}, "expected at most 2"),
        ({"steps": 4, "observed_index": 3}, {}, "chunk.observed_index: expected at most 2"),
        ({"rtc": {"method": "guided"}}, {}, "chunk.rtc: expected `chunk.denoise`"),
        ({"seam": {"catch_up_rate": 0}}, {}, "catch_up_rate: expected numbers above 0, got 0"),
        ({"seam": {"catch_up_rate": {"a": -1}}}, {}, "catch_up_rate: expected numbers above 0"),
        ({}, {"ema": 0.5}, "groups[0].ema: expected 1 in a chunk"),
        ({}, {"argmax": {"table": [[0.0, 0.0]]}}, "argmax: expected none in a chunk"),
    ],
)
def test_a_chunk_that_cannot_be_is_refused(
    tmp_path: Path, chunk: dict[str, Any], group: dict[str, Any], expected: str
) -> None:
    path = write_spec(tmp_path, content(chunk, **group))
    assert expected in "\n".join(refused(read_spec, path))


@pytest.mark.parametrize(
    ("shape", "chunk", "expected"),
    [
        ((1, 1, 2), {}, "expected a chunk of 2 actions or more"),
        ((8,), {}, "expected an output [1, T, A], [T, A], or a flat one"),
        ((2, 2, 2), {}, "expected an output [1, T, A]"),
        ((1, 4, 2), {"steps": 5}, "chunk.steps: expected 4, as the output has, got 5"),
        ((1, 4, 2), {"n_action_steps": 5}, "n_action_steps: expected at most 4"),
        ((1, 4, 2), {"observed_index": 3}, "observed_index: expected at most 2"),
    ],
)
def test_a_chunk_that_the_model_does_not_have_is_refused(
    tmp_path: Path, shape: tuple[int, ...], chunk: dict[str, Any], expected: str
) -> None:
    model = FakeModel({"obs": (1, 2)}, {"act": shape})
    _, _, problems = bind(tmp_path, content(chunk), model)
    assert expected in "\n".join(problems)


def test_rules_of_a_spec(tmp_path: Path) -> None:
    seam = {"method": "average", "share": 0.25, "min_ticks": 7, "coefficient": 0.5,
            "catch_up_rate": {"a": 0.5, "b": 2.0}}  # fmt: skip
    given = content({"seam": seam, "interpolation": "cubic", "start": "restart"})
    found, _ = bound(tmp_path, given, act())
    chunk = read_spec(write_spec(tmp_path, given)).spec.chunk
    assert chunk is not None
    rules = chunk_rules(chunk, found.decoder.count, found.decoder.elements, "policy.yaml")
    assert np.asarray(rules.catch_up_rate).tolist() == [0.5, 2.0]
    expected = ChunkRules(
        4, 50_000_000, "cubic", "average", 0.25, 7, rules.catch_up_rate, 0.5, "restart"
    )
    assert rules == expected
    seam["catch_up_rate"] = {"c": 1.0}
    chunk = read_spec(write_spec(tmp_path, content({"seam": seam}))).spec.chunk
    assert chunk is not None
    assert "catch_up_rate" in refused(chunk_rules, chunk, 4, found.decoder.elements, "")[0]
