"""A part of benchmarks/chunks.py: what the player has to reach in the simulated world."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def play() -> Iterator[Any]:
    """The modules of the benchmark."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from chunk_play import demands, measure, world

        yield demands, measure, world
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize(("task", "latency"), [("P1", 10), ("P2", 3), ("P2", 25), ("P3", 10)])
def test_the_demands_are_reached(play: Any, task: str, latency: int) -> None:
    demands, _, world = play
    found = list(demands.demands(world.Case(task, latency=latency, seed=1), [1]))
    assert len(found) >= 4
    assert [str(one) for one in found if not one.reached] == []


def test_spikes_jitter_and_the_start_from_standstill(play: Any) -> None:
    demands, _, world = play
    found = list(demands.demands_of_events(world.Case("P2", latency=10)))
    assert len(found) == 4
    assert [str(one) for one in found if not one.reached] == []


def test_the_world_shows_the_faults_of_the_peers(play: Any) -> None:
    """If it did not, the comparison would say nothing."""
    _, measure, world = play
    case = world.Case("P2", latency=10, seed=1)
    broker = measure.run(case, measure.PLAYERS["openpi broker"])
    assert broker.starved_ms > 500.0
    filtered = measure.run(case, measure.PLAYERS["LeRobot async, filter in rad"])
    assert filtered.starved_ms > 100.0


def test_one_slow_inference_is_forgotten(play: Any) -> None:
    """lerobot#4223: the largest latency was kept for ever."""
    demands, measure, world = play
    case = world.Case("P2", latency=10, seed=2)
    usual = demands.played(case, demands.FADE)
    spike = measure.run(case.but(spike_s=2.0), measure.PLAYERS[demands.FADE])
    late = 1000  # 10 s; the spike begins at 6 s
    np.testing.assert_allclose(spike.joints[late:], usual.joints[late:], atol=0.05)
    calm = np.abs(np.diff(spike.joints[late:], axis=0)).max()
    assert calm < 1.5 * np.abs(np.diff(usual.joints[late:], axis=0)).max()


def test_a_robot_at_rest_gets_as_many_chunks_as_a_moving_one(play: Any) -> None:
    """lerobot#1557: a filter of small motions starved the inference of robots in radians."""
    _, measure, world = play
    counts = []
    for still in (False, True):
        one = world.World(world.Case("P1", latency=10))
        if still:
            one.position[:] = one.position[0]
            one.speed[:] = 0.0
        player = measure.Ours(one)
        for step in range(3 * world.STEPS_PER_S):
            player.tick(step, one.position[step])
        counts.append(player.player.report.taken)
    assert counts[0] == counts[1] > 25
