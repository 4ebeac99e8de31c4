"""Difference between a model's actions and the same actions in fp32 on the CPU.

`precision_check.py` measures it. An engine's entry in the cache stores it.
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
    """Measured differences of the actions, each in its element's unit."""

    largest: float  # difference of any element in any inference; inf: an action is not finite
    element: str  # with the largest difference, for example `left_knee (position)`
    rms: float  # over all elements and inferences
    samples: int
    observations: str  # "generated", or "recorded (FILE)"
    tolerance: float

    @property
    def accepted(self) -> bool:
        """Whether the largest difference is within the tolerance."""
        return self.largest <= self.tolerance

    def __str__(self) -> str:
        return (
            f"{self.samples} {self.observations} observations: actions differ by at most "
            f"{self.largest:.3g} at {self.element} (rms {self.rms:.3g}), "
            f"tolerance {self.tolerance:g}"
        )

    def facts(self) -> dict[str, Any]:
        """The fields by name, for an engine's entry and for reports."""
        return asdict(self)


def beyond(path: Path, found: Comparison) -> Refusal:
    """Return the refusal of a precision whose differences exceed the tolerance."""
    return refuse(
        str(path), "precision check",
        f"actions within {found.tolerance:g} of those in fp32 on the CPU (parameter "
        "precision_check.tolerance, in the command's units)",
        f"{found.largest:.3g} at {found.element} in {found.samples} {found.observations} "
        "observations",
        "run it in fp32, or raise the tolerance if that is safe for the robot",
    )  # fmt: skip
