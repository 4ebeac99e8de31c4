"""The robot's rules for the policy: limits, stops, timeouts.

The objects are frozen. To change a rule, replace the whole object between two ticks.
"""

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

    `max_step` is the largest change per tick: rate limit x nominal period. After a stall a command
    therefore changes by one period's share only.
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
        """Write the limited target to `out` [n]; add 1 to `hits` [n] where a limit changed it."""
        np.copyto(out, target)
        if self.stepped:
            np.maximum(out, previous - self.max_step, out=out)
            np.minimum(out, previous + self.max_step, out=out)
        if self.bounded:
            np.maximum(out, self.low, out=out)
            np.minimum(out, self.high, out=out)
        elif not self.stepped:
            return
        # Compare bytes: it takes a third of the time of an array comparison, and hits are rare.
        if out.tobytes() != target.tobytes():
            hits += out != target

    def same_as(self, other: CommandLimits | None) -> bool:
        """Whether all numbers of both are equal."""
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
    """The command during HOLD and SAFE_STOP, per kind of element.

    position: `hold` the last position, move to the `default_pose`, or `damping` (stiffness 0 with
    the damping of training, if the message carries gains).
    All other kinds: `zero` or `hold`. `hold` is a runaway, so a parameter has to allow it.
    `ramp_ns`: the command reaches zero or the default pose linearly within this time. If it is 0,
    the command reaches zero in one tick, and the default pose at the rate limit.
    """

    position: str = "hold"
    velocity: str = "zero"
    effort: str = "zero"
    twist: str = "zero"
    value: str = "zero"
    ramp_ns: int = 0


class Manner(NamedTuple):
    """How the publisher fills a command message, in addition to the command's values.

    effort_share: the published share, 0 to 1, of the last effort that was computed from
        positions. None: compute a new effort.
    damped: publish stiffness 0 if the message carries gains.
    held_velocity, held_effort: the published share of a held joint's value, 0 to 1. The policy
        does not drive a held joint. A held position never changes.
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
    """The maximum age of an input, and the reaction to an older one.

    on_stale: `hold`, `safe_stop`, or `zero`. `zero` sets the input's numbers to 0; it suits a
    velocity command. The start does not wait for such an input.
    strict_stamp: a wrong header stamp leads to the same reaction, not only to a warning.
    """

    max_age_ns: int
    on_stale: str = "hold"
    strict_stamp: bool = False


@dataclass(frozen=True)
class Settings:
    """All rules that `Pipeline.step` needs in addition to the policy."""

    period_ns: int
    decimation: int
    inputs: Mapping[str, InputRule]
    limits: CommandLimits
    max_tilt_rad: float = 0.0  # 0 = not watched
    hold_recover_ns: int = 200_000_000
    safe_stop_after_ns: int = 0  # HOLD for longer becomes SAFE_STOP; 0 = never
    recover: str = "armed"  # armed | auto
    reset_after_ns: int = 500_000_000
    require_guard: bool = False  # refuse arming while no guard is heard
    require_arming: bool = False  # after activation, command nothing until ~/arm is called
    stamp_tolerance_ns: int = 500_000_000  # allowed difference of a header stamp to the clock
    # This many inferences in a row, each longer than decimation periods: SAFE_STOP; 0 = never.
    late_inferences: int = 0
    late_ticks: int = 0  # this many ticks in a row that each missed a deadline: HOLD; 0 = never
    executor_timeout_ns: int = 0  # the executor is silent for longer: SAFE_STOP; 0 = never
    callback_failures: int = 0  # this many within a minute: SAFE_STOP; 0 = never
    second_commander: str = "warn"  # warn | hold | safe_stop
    # With several publishers of the emergency stop: time from the last `true` until arming.
    estop_quiet_ns: int = 1_000_000_000
    # A measured position that is beyond its limits by more than this: SAFE_STOP.
    position_margin: float | None = None
    # A measured speed above this, by policy joint [rad/s or m/s]: SAFE_STOP.
    max_velocity: Mapping[str, float] = field(default_factory=dict)
    stops: StopRule = field(default_factory=StopRule)
    start_pose_ns: int = 0  # duration of the move to the default pose before the policy; 0 = none
    start_pose_tolerance: float = 0.1  # of the measured positions at the end of that move [rad]
    blend_in_ns: int = 0  # duration of the blend from the first pose to the policy's; 0 = none

    @property
    def longest_silence_ns(self) -> int:
        """The longest time without a command before another process stops the robot.

        The largest of: 0.2 s, three heartbeat periods, and the periods of `late_inferences`
        inferences. If a tick began longer ago than this, its command is too old.
        """
        beat_ns = max(_HEARTBEAT_NS, self.period_ns)
        late_ns = self.late_inferences * self.decimation * self.period_ns
        return max(SHORTEST_SILENCE_NS, 3 * beat_ns, late_ns)
