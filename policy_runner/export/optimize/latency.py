"""Latency of variants against the original, in shuffled order, with the original twice.

A fixed order of calls misleads: the one that runs after a slow one pays for its caches. With
torch first in every round the identical graph came out at 0.65 of the original. So each round
shuffles, and the original against its own copy (A/A) says how far a ratio can be trusted.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from policy_runner.core.model import Array, Buffer
from policy_runner.export.graph.network_export import Progress, no_progress, session_of

ROUNDS = 40
BLOCK = 20  # runs of one model in a row
# A network of 2 GB takes half a second: 40 rounds of 20 runs of seven of them would take an hour.
FEWEST_ROUNDS, SHORTEST_BLOCK = 5, 2
_MOST_BLOCK_S, _MOST_S = 0.5, 180.0
TRUSTED = 0.05  # A/A may be off by so much
CONTROL = "A/A"


def latency_ratios(
    original: Path,
    variants: Mapping[str, Path],
    feed: Mapping[str, Buffer],
    rounds: int = ROUNDS,
    progress: Progress = no_progress,
) -> dict[str, float]:
    """Median latency of each variant over that of the original, one thread each.

    Returns:
        By name; `A/A` is a second session of the original.
    """  # fmt: skip
    paths = {"": original, CONTROL: original, **variants}
    given = dict(feed)
    calls = {}
    for name, path in paths.items():
        session = session_of(str(path), str(path))
        calls[name] = partial(session.run, None, given)
    return ratios(shuffled_times(calls, rounds, progress=progress), "")


def shuffled_times(
    calls: Mapping[str, Callable[[], object]],
    rounds: int = ROUNDS,
    seed: int = 1,
    progress: Progress = no_progress,
) -> dict[str, Array]:
    """Seconds of single runs, in blocks whose order is drawn again in each round.

    Calls of more than 25 ms have shorter blocks, and fewer rounds where all would take minutes.

    Returns:
        By name, float64 [rounds, runs of a block]: [rounds, BLOCK] for quick calls.
    """
    times: dict[str, list[list[float]]] = {name: [] for name in calls}
    order = list(calls)
    shuffle = random.Random(seed)
    for call in calls.values():
        call()
    single = [min(_block(call, SHORTEST_BLOCK)) for call in calls.values()]
    size = max(SHORTEST_BLOCK, min(BLOCK, int(_MOST_BLOCK_S / max(single))))
    for call in calls.values():
        _block(call, size)
    most = int(_MOST_S / (size * sum(single)))
    rounds = min(rounds, max(FEWEST_ROUNDS, most))
    for k in range(rounds):
        progress("measure latencies", k, rounds)
        shuffle.shuffle(order)
        for name in order:
            times[name].append(_block(calls[name], size))
    return {name: np.array(found) for name, found in times.items()}


def ratios(times: Mapping[str, Array], base: str) -> dict[str, float]:
    """Per round the median of each over the median of `base`; the median of all rounds."""
    medians = {name: np.median(found, axis=1) for name, found in times.items()}
    return {
        name: float(np.median(found / medians[base]))
        for name, found in medians.items()
        if name != base
    }


def _block(call: Callable[[], object], size: int) -> list[float]:
    found = []
    for _ in range(size):
        begin = time.perf_counter()
        call()
        found.append(time.perf_counter() - begin)
    return found
