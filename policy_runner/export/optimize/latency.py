"""Latency of variants against the original, in shuffled order, with the original twice.

A fixed order of calls misleads: the one that runs after a slow one pays for its caches. With
torch first in every round the identical graph came out at 0.65 of the original. So each round
shuffles, and the original against its own copy (A/A) says how far a ratio can be trusted.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.core.model import Buffer
from policy_runner.export.graph.network_export import session_of

ROUNDS = 40
BLOCK = 20  # runs of one model in a row
TRUSTED = 0.05  # A/A may be off by so much
CONTROL = "A/A"


def latency_ratios(
    original: Path,
    variants: Mapping[str, Path],
    feed: Mapping[str, Buffer],
    rounds: int = ROUNDS,
    seed: int = 1,
) -> dict[str, float]:
    """Median latency of each variant over that of the original, one thread each.

    Returns:
        By name; `A/A` is a second session of the original.
    """  # fmt: skip
    paths = {"": original, CONTROL: original, **variants}
    sessions = {name: _session(path) for name, path in paths.items()}
    times: dict[str, list[float]] = {name: [] for name in sessions}
    order = list(sessions)
    shuffle = random.Random(seed)
    for name in order:
        _block(sessions[name], feed)
    for _ in range(rounds):
        shuffle.shuffle(order)
        for name in order:
            times[name].append(_block(sessions[name], feed))
    base = np.asarray(times.pop(""))
    return {name: float(np.median(np.asarray(one) / base)) for name, one in times.items()}


def _session(path: Path) -> Any:
    return session_of(path.read_bytes(), str(path))


def _block(session: Any, feed: Mapping[str, Buffer]) -> float:
    """Seconds of the median run of a block."""
    given = dict(feed)
    found = []
    for _ in range(BLOCK):
        begin = time.perf_counter()
        session.run(None, given)
        found.append(time.perf_counter() - begin)
    return float(np.median(found))
