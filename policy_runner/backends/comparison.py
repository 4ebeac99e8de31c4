"""How far a model's actions are from those in fp32 on the CPU: the figures, and the refusal.

`precision_check.py` measures them; an engine's entry in the cache keeps them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from policy_runner.core.errors import Refusal, refuse

TOLERANCE = 0.02  # default of precision_check.tolerance
SAMPLES = 64  # default of precision_check.samples


@dataclass(frozen=True)
class Comparison:
    """How far the actions are apart, each in its element's unit."""

    largest: float  # difference of any element in any inference; inf: not finite
    element: str  # where it was, as `left_knee (position)`
    rms: float  # over all elements and inferences
    samples: int
    observations: str  # generated, or the file they are from
    tolerance: float

    @property
    def accepted(self) -> bool:
        """Whether it stays within the tolerance."""
        return self.largest <= self.tolerance

    def __str__(self) -> str:
        return (
            f"{self.samples} {self.observations} observations: actions differ by at most "
            f"{self.largest:.3g} at {self.element} (rms {self.rms:.3g}), "
            f"tolerance {self.tolerance:g}"
        )

    def facts(self) -> dict[str, Any]:
        """What an engine's entry remembers, and a report prints."""
        return asdict(self)


def beyond(path: Path, found: Comparison) -> Refusal:
    """The sentence that refuses a precision."""
    return refuse(
        str(path), "precision check",
        f"actions within {found.tolerance:g} of those in fp32 on the CPU (parameter "
        "precision_check.tolerance, in the command's units)",
        f"{found.largest:.3g} at {found.element} in {found.samples} {found.observations} "
        "observations",
        "run it in fp32, or raise the tolerance if the robot can bear that",
    )  # fmt: skip
