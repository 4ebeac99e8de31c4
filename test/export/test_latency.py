"""Latencies in shuffled order: the control decides whether there is a verdict."""

from __future__ import annotations

import time

import numpy as np
import pytest

from policy_runner.cli.bench.against_torch import RUNTIME, TORCH, figures
from policy_runner.export.optimize.latency import (
    BLOCK,
    CONTROL,
    FEWEST_ROUNDS,
    SHORTEST_BLOCK,
    ratios,
    shuffled_times,
)


def test_every_call_runs_in_every_round_in_another_order() -> None:
    order: list[str] = []
    calls = {name: (lambda name=name: order.append(name)) for name in "abc"}
    found = shuffled_times(calls, rounds=6)
    assert all(one.shape == (6, BLOCK) for one in found.values())
    rounds = [
        tuple(order[k : k + 3 * BLOCK : BLOCK])
        for k in range(len(order) - 6 * 3 * BLOCK, len(order), 3 * BLOCK)
    ]
    assert len(rounds) == 6
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len(set(rounds)) > 1


def test_a_ratio_is_taken_round_by_round() -> None:
    """A machine that becomes slower in the middle changes no ratio."""
    base = np.repeat([[1.0], [5.0], [1.0]], BLOCK, axis=1)
    assert ratios({"": base, "twice": 2.0 * base}, "") == {"twice": 2.0}


def test_a_slow_call_is_slower() -> None:
    calls = {"": lambda: None, "slow": lambda: time.sleep(1e-4)}
    assert ratios(shuffled_times(calls, rounds=3), "")["slow"] > 2.0


def test_slow_calls_have_short_blocks() -> None:
    """A call of 0.4 s: the whole measurement stays below some minutes."""
    now = [0.0]

    def slow() -> None:
        now[0] += 0.4

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: now[0])
        found = shuffled_times({str(k): slow for k in range(7)})
    rounds, block = found["0"].shape
    assert block == SHORTEST_BLOCK
    assert FEWEST_ROUNDS <= rounds < 40
    assert now[0] < 240.0


def test_no_verdict_where_the_control_is_off() -> None:
    times = {RUNTIME: np.ones((4, BLOCK)), CONTROL: np.full((4, BLOCK), 1.02),
             TORCH: np.full((4, BLOCK), 3.0)}  # fmt: skip
    assert figures(times)["torch / ONNX Runtime"] == 3.0
    times[CONTROL] = np.full((4, BLOCK), 1.2)
    assert figures(times)["torch / ONNX Runtime"] is None
