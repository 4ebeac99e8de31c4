"""Lengths and lags per term against a naive list of frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from core_rig import refused
from hypothesis import given
from hypothesis import strategies as st

from policy_runner.core.observation.history import FrameHistory
from policy_runner.core.spec import History


def _history(sizes: list[int], **keys: Any) -> FrameHistory:
    given_ = {"stack": "term", "order": "oldest_first", "fill": "repeat", **keys}
    names = [f"t{k}" for k in range(len(sizes))]
    return FrameHistory(History.model_validate(given_), sizes, names, "f", "k")


@given(
    order=st.sampled_from(["oldest_first", "newest_first"]),
    fill=st.sampled_from(["repeat", "zeros"]),
    lags=st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=4, unique=True),
                  min_size=1, max_size=3),
    steps=st.integers(1, 9),
)  # fmt: skip
def test_lags_like_a_naive_list(order: str, fill: str, lags: list[list[int]], steps: int) -> None:
    sizes = [k + 1 for k in range(len(lags))]
    given_lags = {f"t{k}": one for k, one in enumerate(lags)}
    history = _history(sizes, order=order, fill=fill, lags=given_lags)
    frames: list[list[float]] = []
    for step in range(steps):
        frame = [100.0 * (step + 1) + k for k in range(sum(sizes))]
        frames.append(frame)
        found = history.push(np.array(frame)).tolist()
        first = frames[0] if fill == "repeat" else [0.0] * len(frame)
        expected: list[float] = []
        start = 0
        for size, own in zip(sizes, lags):
            for lag in sorted(own, reverse=order == "oldest_first"):
                past = frames[-1 - lag] if lag < len(frames) else first
                expected += past[start : start + size]
            start += size
        assert found == expected


def test_lengths_per_term_and_terms_without_one() -> None:
    history = _history([1, 2], length={"t0": 3})
    history.push(np.array([1.0, 10.0, 11.0]))
    assert history.push(np.array([2.0, 20.0, 21.0])).tolist() == [1, 1, 2, 20, 21]
    assert history.term_counts == [3, 2]


def test_lags_of_whole_frames() -> None:
    history = _history([1, 1], stack="frame", order="newest_first", lags=[0, 2], fill="zeros")
    pushed = [history.push(np.array([k + 1.0, -k - 1.0])).tolist() for k in range(3)]
    assert pushed == [[1, -1, 0, 0], [2, -2, 0, 0], [3, -3, 1, -1]]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, "k: expected one of `length` and `lags`, got none"),
        ({"length": 2, "lags": [0]}, "k: expected one of `length` and `lags`, got both"),
        ({"length": {"t9": 2}}, "k.length: expected terms (t0), got 't9'"),
        ({"stack": "frame", "lags": {"t0": [0]}}, "since whole frames are stacked (stack: frame)"),
        ({"lags": [0, 0]}, "k.lags: expected every lag once, got [0, 0]"),
    ],
)
def test_histories_that_say_too_little_or_too_much(keys: dict[str, Any], expected: str) -> None:
    assert expected in refused(_history, [1], **keys)[0]
