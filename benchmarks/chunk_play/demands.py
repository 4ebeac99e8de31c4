"""What the chunk player has to reach in the simulated world, and whether it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from chunk_play.measure import PLAYERS, Result, run
from chunk_play.world import PERIOD, STEPS_PER_S, Case, World

CATCH_UP = 0.01  # rad in one period of 10 ms, at the default rate of 1 rad/s
FADE, REPLACE = "ours, cross-fade", "ours, replace"
BASE, TUNED = "information baseline", "LeRobot queue x3, tuned"
MOST_JERK = {3: 0.65, 10: 0.5, 25: 0.05}  # against the tuned queue without guidance


class Demand(NamedTuple):
    """One figure, and the most that it may be."""

    what: str
    value: float
    most: float

    @property
    def reached(self) -> bool:
        """Whether the figure is at most its bound."""
        return self.value <= self.most


@cache
def played(case: Case, player: str, settled_s: float = 2.0) -> Result:
    """The result of a player in a case."""
    return run(case, PLAYERS[player], settled_s)


def never_starves(case: Case) -> bool:
    """Whether two consecutive latencies together are at most H dt."""
    longest = case.latency * PERIOD * case.jitter
    return 2 * longest <= case.horizon * case.dt


def demands(case: Case, seeds: Sequence[int]) -> Iterator[Demand]:
    """Every demand on one task, horizon and latency."""
    cases = [case.but(seed=seed) for seed in seeds]
    name = f"{case.task} H={case.horizon} at {case.hz} Hz, L={case.latency}"
    if not never_starves(case):
        return
    ours = [played(one, FADE) for one in cases]
    yield Demand(f"{name}: starved ms", max(one.starved_ms for one in ours), 0.0)
    yield Demand(f"{name}: limited ticks", max(one.limited for one in ours), 0)
    own = max(played(one, "oracle").step for one in cases)
    largest = max(one.step for one in ours)
    yield Demand(f"{name}: largest step / (own + catch-up)", largest / (own + CATCH_UP), 1.1)
    error = float(np.mean([one.error for one in ours]))
    if case.task == "P1":
        best = float(np.mean([played(one, "oracle").error for one in cases]))
        yield Demand(f"{name}: error / oracle", error / best, 1.05)
        return
    theirs = max(played(one, TUNED).jerk for one in cases)
    jerk = max(one.jerk for one in ours) / theirs
    yield Demand(f"{name}: peak jerk / tuned queue", jerk, MOST_JERK[case.latency])
    if case.latency <= 10:
        base = float(np.mean([played(one, BASE).error for one in cases]))
        replaced = float(np.mean([played(one, REPLACE).error for one in cases]))
        yield Demand(f"{name}: error of replace / baseline", replaced / base, 1.1)
        yield Demand(f"{name}: error of cross-fade / baseline", error / base, 1.5)


def demands_of_events(case: Case) -> Iterator[Demand]:
    """A spike of 2 s, jitter, and a first inference of 21 actions from standstill."""
    name = f"{case.task} H={case.horizon} at {case.hz} Hz, L={case.latency}"
    spike = case.but(spike_s=2.0)
    latency_ms, length_ms = case.latency * 10.0, 1000.0 * case.horizon / case.hz
    expected = 2000.0 + latency_ms - (length_ms - latency_ms)
    off = abs(played(spike, FADE).starved_ms - expected)
    yield Demand(f"{name}, spike: starved ms, off {expected:.0f}", off, 20.0)
    jitter = case.but(jitter=3.0)
    if never_starves(jitter):
        yield Demand(f"{name}, jitter: starved ms", played(jitter, FADE).starved_ms, 0.0)
    start = case.but(first=21, offset=0.4)
    for player in (FADE, REPLACE):
        commands = played(start, player, 0.0).commands
        first = float(np.abs(commands[0][1] - World(start).start).max())
        at = commands[0][0] / STEPS_PER_S
        what = f"{name}, first command after {at:.2f} s / catch-up ({player})"
        yield Demand(what, first / CATCH_UP, 1.0)
