"""What this robot does with the policy: frozen, built from parameters, swapped between ticks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from policy_runner.core.limits import CommandLimits
from policy_runner.core.stopping import StopRule


@dataclass(frozen=True)
class InputRule:
    """How old an input may be, and what follows when it is older.

    on_stale: `hold`, `safe_stop`, or `zero` (its numbers become 0, for a velocity command;
    such an input is not waited for at the start either). strict_stamp: a header stamp that is
    wrong leads to the same, not only to a warning.
    """

    max_age_ns: int
    on_stale: str = "hold"
    strict_stamp: bool = False


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
    require_arming: bool = False  # nothing is commanded after activation until somebody arms
    stamp_tolerance_ns: int = 500_000_000  # of header stamps against the clock
    # In a row, of inferences that took longer than decimation periods: SAFE_STOP; 0 = never.
    late_inferences: int = 0
    late_ticks: int = 0  # in a row that each skipped a deadline: HOLD; 0 = never
    executor_timeout_ns: int = 0  # the executor silent for longer: SAFE_STOP; 0 = never
    callback_failures: int = 0  # so many within a minute: SAFE_STOP; 0 = never
    position_margin: float | None = None  # measured positions beyond limits by more: SAFE_STOP
    # Measured speeds by policy joint [rad/s or m/s] that mean SAFE_STOP.
    max_velocity: Mapping[str, float] = field(default_factory=dict)
    stops: StopRule = field(default_factory=StopRule)
    start_pose_ns: int = 0  # of the move to the default pose before the policy; 0 = none
    start_pose_tolerance: float = 0.1  # of the measured positions at its end [rad]
    blend_in_ns: int = 0  # from the pose at the start to the policy's; 0 = none
