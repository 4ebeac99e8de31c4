"""The rules for playing chunks: their times, their seams, and their start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from policy_runner.core.model import Array

# Share of the older chunk's action in the mixed action, by the names that LeRobot's asynchronous
# client uses (`AGGREGATE_FUNCTIONS` in its configs.py).
AGGREGATIONS = {"weighted_average": 0.3, "latest_only": 0.0, "average": 0.5, "conservative": 0.7}
Seam = Literal[
    "cross_fade", "replace", "temporal_ensemble",
    "weighted_average", "latest_only", "average", "conservative",
]  # fmt: skip


@dataclass(frozen=True)
class ChunkRules:
    """How a chunk is played.

    Attributes:
        steps: the most actions of a chunk. Action 0 belongs to the time of the observation.
        dt_ns: time between two actions [ns].
        interpolation: between two actions: linear, or cubic without overshoot.
        seam: what happens where a newer chunk replaces an older one.
        fade_share: of `cross_fade`, duration as a share of the time between two chunks.
        fade_ticks: of every fade, the shortest duration [control periods].
        catch_up_rate: of every fade, the fastest closing of the gap [unit/s], one number or
            float64 [elements].
        ensemble_coefficient: m of `temporal_ensemble`; weights are exp(-m i), i = 0 is the oldest.
        start: after standstill; clock: the first action is the one that belongs to now; restart:
            the first chunk begins with its action 0, and so lags.
    """

    steps: int
    dt_ns: int
    interpolation: Literal["linear", "cubic"] = "linear"
    seam: Seam = "cross_fade"
    fade_share: float = 0.5
    fade_ticks: int = 3
    catch_up_rate: float | Array = 1.0
    ensemble_coefficient: float = 0.01
    start: Literal["clock", "restart"] = "clock"
