"""What is commanded while the policy does not run, by the kind of command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


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
    """

    effort_share: float | None
    damped: bool


RUNNING = Manner(None, False)
MOVING = Manner(None, False)  # to the start pose: told apart by identity
STOPPED = Manner(0.0, False)
