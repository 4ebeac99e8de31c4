"""The verdict on a variant: does it help, and does it harm?

It comes from the maximum error and the closed loop. The mean hides what matters: a static INT8
balancer with a mean error of 0.005 of full scale falls, since its maximum is 0.3.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from policy_runner.core.model import Array
from policy_runner.export.optimize.latency import CONTROL, TRUSTED

HELPS, HARMS, NO_GAIN, NOT_MADE = "helps", "harms", "no gain", "not made"
MOST_ERROR = 0.05  # largest error, of the action's range in the judged observations
SMALLER, FASTER, SLOWER = 0.75, 0.95, 1.05


@dataclass
class Judged:
    """One variant.

    Attributes:
        size: bytes over those of the original.
        latency: ratio to the original; None: A/A was off, so there is none to trust.
        mean, p99, largest: |error| of the action, in the element's unit.
        element: where the largest was.
        share: the largest error over the range of its element's action.
        loop: what the closed loop gave, for people.
        falls_more: the closed loop is worse than the original's.
    """

    name: str
    verdict: str = ""
    why: str = ""
    size: float | None = None
    latency: float | None = None
    mean: float | None = None
    p99: float | None = None
    largest: float | None = None
    element: str = ""
    share: float | None = None
    loop: str = ""
    falls_more: bool = False


@dataclass
class Optimization:
    """Every variant, and which one was applied."""

    folder: str
    samples: int
    observations: str
    control: float = 1.0  # latency of the original against itself
    rows: list[Judged] = field(default_factory=list)
    applied: str = ""

    @property
    def trusted(self) -> bool:
        """Whether latencies can be trusted here."""
        return abs(self.control - 1.0) <= TRUSTED

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "trusted": self.trusted}


def set_errors(row: Judged, wanted: Array, got: Array, elements: list[str]) -> None:
    """Write the errors of a variant's actions.

    Args:
        wanted, got: actions of the original and of the variant, float64 [samples, elements].
    """
    apart = np.abs(got - wanted)
    apart[~np.isfinite(apart)] = np.inf
    spread = np.ptp(wanted, axis=0)
    share = np.max(apart, axis=0) / np.where(spread > 0, spread, 1.0)
    worst = int(np.argmax(share))
    row.mean, row.p99 = float(np.mean(apart)), float(np.percentile(apart, 99))
    row.largest, row.element = float(np.max(apart[:, worst])), elements[worst]
    row.share = float(share[worst])


def judge(row: Judged, latencies: dict[str, float], trusted: bool) -> None:
    """Write the verdict and its reason; errors, size and loop are there already."""
    row.latency = latencies.get(row.name) if trusted else None
    if row.share is None or not row.share <= MOST_ERROR:
        share = "not finite" if row.share is None else f"{row.share:.0%} of its range"
        row.verdict, row.why = HARMS, f"largest error {share}, at {row.element}"
    elif row.falls_more:
        row.verdict, row.why = HARMS, "the closed loop is worse"
    elif row.latency is not None and row.latency <= FASTER:
        row.verdict, row.why = HELPS, f"latency {row.latency:.2f}"
    elif row.size is not None and row.size <= SMALLER and (
        row.latency is None or row.latency <= SLOWER
    ):  # fmt: skip
        row.verdict, row.why = HELPS, f"size {row.size:.2f}"
    else:
        why = "neither faster nor smaller"
        if row.latency is not None and row.latency > SLOWER:
            why = f"slower: latency {row.latency:.2f}"
        row.verdict, row.why = NO_GAIN, why


def best(rows: list[Judged]) -> Judged | None:
    """The variant to apply: of those that help the fastest, then the smallest; None: none."""
    helping = [row for row in rows if row.verdict == HELPS]
    return min(helping, key=lambda row: (row.latency or 1.0, row.size or 1.0), default=None)


def control_text(found: Optimization) -> str:
    """The sentence about the A/A control."""
    text = f"{CONTROL} {found.control:.2f}"
    return text if found.trusted else f"{text}: no verdict on latency, beyond {TRUSTED:.0%}"
