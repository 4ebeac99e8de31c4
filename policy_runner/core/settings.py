"""What this robot does with the policy: frozen, built from parameters, swapped between ticks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from policy_runner.core.limits import CommandLimits


@dataclass(frozen=True)
class InputRule:
    """How old an input may be, and what follows when it is older.

    on_stale: `hold`, `safe_stop`, or `zero` (its numbers become 0, for a velocity command;
    such an input is not waited for at the start either).
    """

    max_age_ns: int
    on_stale: str = "hold"


@dataclass(frozen=True)
class Settings:
    """All that `Pipeline.step` needs to know beside the policy."""

    period_ns: int
    decimation: int
    inputs: Mapping[str, InputRule]
    limits: CommandLimits
    max_tilt_rad: float = 0.0  # 0 = not watched
    hold_recover_ns: int = 200_000_000
    safe_stop_after_ns: int = 0  # HOLD for longer becomes SAFE_STOP; 0 = never
    recover: str = "armed"  # armed | auto
    reset_after_ns: int = 500_000_000
