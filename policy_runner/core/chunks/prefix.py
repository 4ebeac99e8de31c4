"""Real-time chunking: how much of the older chunk the newer one has to keep.

A new chunk is computed while the older one is played. Its first d actions are over, or about to be
sent, when it arrives: they are the committed prefix. RTC (arXiv 2506.07339) makes the network
continue them.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from policy_runner.core.model import Array

Schedule = Literal["zeros", "ones", "linear", "exp"]


def prefix_weights(schedule: Schedule, start: int, end: int, length: int) -> Array:
    """Weights of the older chunk's actions in the guidance, float64 [length].

    zeros: 1 before `start`. ones: 1 before `end`. linear: 1 before `start`, then
    (end - i) / (end - start + 1). exp: the linear weight w becomes w (e^w - 1) / (e - 1). From
    `end` on they are 0. Source: real-time-chunking-kinetix, src/model.py, get_prefix_weights.

    Args:
        schedule: the form.
        start: d, the length of the committed prefix.
        end: first index without weight; a `start` above it counts as `end`.
        length: H, actions of a chunk.
    """
    start = min(start, end)
    at = np.arange(length, dtype=np.float64)
    if schedule == "zeros":
        return (at < start).astype(np.float64)
    if schedule == "ones":
        return (at < end).astype(np.float64)
    weights = np.clip((end - at) / (end - start + 1.0), 0.0, 1.0)
    if schedule == "exp":
        weights *= np.expm1(weights) / math.expm1(1.0)
    weights[at < start] = 1.0
    return weights


def leftover(previous: Array, shift: float) -> Array:
    """The older chunk from the newer one's observation on, aligned with the newer chunk.

    Args:
        previous: the older chunk, float64 [T, A].
        shift: time between the two observations, in action steps, from 0 on. Between two actions
            the result is interpolated linearly.

    Returns:
        Its actions that remain, float64 [n, A]; n may be 0. It is not padded: a padded action
        would count as committed.
    """
    count = len(previous)
    remaining = math.floor(count - 1 - shift + 1e-9) + 1
    if remaining <= 0:
        return previous[:0]
    first = math.floor(shift + 1e-9)
    share = max(0.0, shift - first)
    if share < 1e-9:
        return previous[first : first + remaining].copy()
    before, after = previous[first : first + remaining], previous[first + 1 : first + 1 + remaining]
    return before + share * (after - before)
