"""What this robot does with the policy: limits, stops, timeouts. Frozen; swapped between ticks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from policy_runner.core.model import Array

SHORTEST_SILENCE_NS = 200_000_000
_HEARTBEAT_NS = 50_000_000


@dataclass(frozen=True)
class CommandLimits:
    """Per element, in the command's unit; +-inf where there is no limit.

    `max_step` is the largest change per tick: rate limit x nominal period, so that after a
    stall a command still moves one period's worth.
    """

    low: Array
    high: Array
    max_step: Array

    bounded: bool = field(init=False)
    stepped: bool = field(init=False)

    def __post_init__(self) -> None:
        bounded = bool(np.any(np.isfinite(self.low)) or np.any(np.isfinite(self.high)))
        object.__setattr__(self, "bounded", bounded)
        object.__setattr__(self, "stepped", bool(np.any(np.isfinite(self.max_step))))

    def apply(
        self, target: Array, previous: Array, out: Array, hits: npt.NDArray[np.int64]
    ) -> None:
        """Write the limited target to out [n]; add 1 to hits [n] wherever a limit changed it."""
        np.copyto(out, target)
        if self.stepped:
            np.maximum(out, previous - self.max_step, out=out)
            np.minimum(out, previous + self.max_step, out=out)
        if self.bounded:
            np.maximum(out, self.low, out=out)
            np.minimum(out, self.high, out=out)
        elif not self.stepped:
            return
        # Bytes, since that is a third of a comparison's time, and hits are rare.
        if out.tobytes() != target.tobytes():
            hits += out != target

    def same_as(self, other: CommandLimits | None) -> bool:
        """Whether every number is the same."""
        return self is other or (
            other is not None
            and np.array_equal(self.low, other.low)
            and np.array_equal(self.high, other.high)
            and np.array_equal(self.max_step, other.max_step)
        )

    @staticmethod
    def none(size: int) -> CommandLimits:
        """No limit at all."""
        return CommandLimits(np.full(size, -np.inf), np.full(size, np.inf), np.full(size, np.inf))


@dataclass(frozen=True)
class StopRule:
    """What HOLD and SAFE_STOP command, per kind.

    position: `hold` the last one, move to the `default_pose`, or `damping` (stiffness 0 with the
    damping of training, where the message carries gains). All others: `zero`, or `hold`, which
    is a runaway and has to be allowed by name. Zero and the default pose are reached linearly
    within `ramp_ns`; with 0 zero is reached in one tick, and the default pose at the rate limit.
    """

    position: str = "hold"
    velocity: str = "zero"
    effort: str = "zero"
    twist: str = "zero"
    value: str = "zero"
    ramp_ns: int = 0


class Manner(NamedTuple):
    """How a command is published, beside its values.

    effort_share: of the last effort that was computed from positions, 0 to 1; None: compute it.
    damped: with stiffness 0 where the message carries gains.
    held_velocity, held_effort: the share of a held joint's value, 0 to 1. A held joint is one
        that the policy does not drive; a held position never changes.
    """

    effort_share: float | None
    damped: bool
    held_velocity: float = 0.0
    held_effort: float = 0.0


RUNNING = Manner(None, False, 1.0, 1.0)
MOVING = Manner(None, False)  # to the start pose
STOPPED = Manner(0.0, False)


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
    require_guard: bool = False  # arming is refused while no guard is heard
    require_arming: bool = False  # after activation nothing is commanded until ~/arm
    stamp_tolerance_ns: int = 500_000_000  # of header stamps against the clock
    # In a row, of inferences that took longer than decimation periods: SAFE_STOP; 0 = never.
    late_inferences: int = 0
    late_ticks: int = 0  # in a row that each skipped a deadline: HOLD; 0 = never
    executor_timeout_ns: int = 0  # the executor silent for longer: SAFE_STOP; 0 = never
    callback_failures: int = 0  # so many within a minute: SAFE_STOP; 0 = never
    second_commander: str = "warn"  # warn | hold | safe_stop
    estop_quiet_ns: int = 1_000_000_000  # after a `true` of several publishers, before arming
    position_margin: float | None = None  # measured positions beyond limits by more: SAFE_STOP
    # Measured speeds by policy joint [rad/s or m/s] that mean SAFE_STOP.
    max_velocity: Mapping[str, float] = field(default_factory=dict)
    stops: StopRule = field(default_factory=StopRule)
    start_pose_ns: int = 0  # of the move to the default pose before the policy; 0 = none
    start_pose_tolerance: float = 0.1  # of the measured positions at its end [rad]
    blend_in_ns: int = 0  # from the pose at the start to the policy's; 0 = none

    @property
    def longest_silence_ns(self) -> int:
        """How long nothing may leave before the robot is stopped from outside.

        The largest of 0.2 s, three heartbeat periods, and the time that as many inferences may
        take as `late_inferences` tolerates. A command whose tick began longer ago is too old.
        """
        beat_ns = max(_HEARTBEAT_NS, self.period_ns)
        late_ns = self.late_inferences * self.decimation * self.period_ns
        return max(SHORTEST_SILENCE_NS, 3 * beat_ns, late_ns)
