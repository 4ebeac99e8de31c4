"""The rules for playing chunks: their times, their seams, and their start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from policy_runner.core.model import Array
from policy_runner.core.spec import Chunk
from policy_runner.core.spec.elements import ActionElement, limit_names
from policy_runner.core.spec.named_numbers import by_name

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
    fade_ticks: int = 4  # 3 gives 2.9 times the jerk at L = 3 (benchmarks/chunks.py, P2)
    catch_up_rate: float | Array = 1.0
    ensemble_coefficient: float = 0.01
    start: Literal["clock", "restart"] = "clock"


def chunk_rules(
    chunk: Chunk, count: int, elements: Sequence[ActionElement], file: str
) -> ChunkRules:
    """The rules that a spec gives.

    Args:
        chunk: the chunk of the spec.
        count: the actions that may be played, of `ChunkDecoder`.
        elements: of an action.
        file: the spec file, for error messages.

    Raises:
        Refusal: the catch-up rate names other elements.
    """
    seam = chunk.seam
    rate = by_name(seam.catch_up_rate, limit_names(elements), file, "chunk.seam.catch_up_rate")
    return ChunkRules(
        steps=count,
        dt_ns=round(chunk.dt * 1e9),
        interpolation=chunk.interpolation,
        seam=seam.method,
        fade_share=seam.share,
        fade_ticks=seam.min_ticks,
        catch_up_rate=rate,
        ensemble_coefficient=seam.coefficient,
        start=chunk.start,
    )
