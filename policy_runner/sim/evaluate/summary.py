"""The figures of many episodes, each with its unit and meaning, and their confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from policy_runner.sim.evaluate.scoring import TRACKED, Episode

GRAVITY = 9.81  # m/s^2
SLOWEST = 0.05  # m/s; a robot that stands has no cost of transport
Figures = dict[str, "float | int | None"]


class Figure(NamedTuple):
    """One figure of a summary."""

    unit: str
    text: str


FIGURES: dict[str, Figure] = {
    "episodes": Figure("", "episodes"),
    "falls": Figure("", "episodes in which the robot fell"),
    "fall_share": Figure("", "share of episodes with a fall"),
    "fall_share_low": Figure("", "lower end of its 95 % interval"),
    "fall_share_high": Figure("", "upper end of its 95 % interval"),
    "first_fall_s": Figure("s", "earliest fall"),
    "diverged": Figure("", "episodes whose simulation diverged; each is a fall, too"),
    "safe_stops": Figure("", "episodes with a SAFE_STOP of the runner"),
    "hold_share": Figure("", "share of time in HOLD"),
    "vx_rmse": Figure("m/s", "velocity error forward"),
    "vy_rmse": Figure("m/s", "velocity error sideways"),
    "wz_rmse": Figure("rad/s", "error of the turning rate"),
    "vx_bias": Figure("m/s", "mean of measured minus commanded velocity forward"),
    "vy_bias": Figure("m/s", "the same sideways"),
    "wz_bias": Figure("rad/s", "the same of the turning rate"),
    "progress": Figure("m/s", "mean speed from the start to the end, in a straight line"),
    "power": Figure("W", "mean of |effort x velocity| of all joints"),
    "cost_of_transport": Figure("", "power / (weight x mean speed)"),
    "at_limit_share": Figure("", "share of time with a joint at the end of its range"),
    "limit_hits": Figure("1/s", "commands that a limit of the runner changed"),
    "command_rate": Figure("1/s", "RMS change of a command's element for each second"),
    "command_shake": Figure("", "RMS second difference of a command's element"),
    "foot_slip": Figure("m/s", "mean speed of a foot that touches the ground"),
    "most_tilt": Figure("rad", "largest tilt of the base"),
}


def summarize(episodes: Sequence[Episode], mass: float) -> Figures:
    """Figures of `FIGURES` over all episodes; None where nothing was measured.

    Args:
        episodes: at least one.
        mass: of the robot [kg].
    """
    falls = sum(one.fell_s is not None for one in episodes)
    low, high = wilson(falls, len(episodes))
    time_s = sum(one.simulated_s for one in episodes)
    ticks = sum(one.ticks for one in episodes)
    found: Figures = {
        "episodes": len(episodes),
        "falls": falls,
        "fall_share": falls / len(episodes),
        "fall_share_low": low,
        "fall_share_high": high,
        "first_fall_s": min((e.fell_s for e in episodes if e.fell_s is not None), default=None),
        "diverged": sum(bool(one.diverged) for one in episodes),
        "safe_stops": sum(one.stopped_s is not None for one in episodes),
        "hold_share": sum(one.held for one in episodes) / ticks,
    }
    counted = sum(one.counted for one in episodes)
    for axis in TRACKED:
        tracked = counted > 0 and any(axis in one.squares for one in episodes)
        squares = sum(one.squares.get(axis, 0.0) for one in episodes)
        errors = sum(one.errors.get(axis, 0.0) for one in episodes)
        found[f"{axis}_rmse"] = math.sqrt(squares / counted) if tracked else None
        found[f"{axis}_bias"] = errors / counted if tracked else None
    power = sum(one.energy for one in episodes) / time_s
    speed = sum(one.distance for one in episodes) / time_s
    found["progress"] = sum(one.progress for one in episodes) / time_s
    found["power"] = power
    found["cost_of_transport"] = power / (mass * GRAVITY * speed) if speed > SLOWEST else None
    found["at_limit_share"] = sum(one.at_limit for one in episodes) / ticks
    found["limit_hits"] = sum(one.limit_hits for one in episodes) / time_s
    steps = sum(one.command_steps / (one.period_s**2 * one.elements) for one in episodes)
    bends = sum(one.command_bends / one.elements for one in episodes)
    found["command_rate"] = math.sqrt(steps / ticks)
    found["command_shake"] = math.sqrt(bends / ticks)
    touched = [one.touched for one in episodes if one.touched is not None]
    slid = sum(one.slid for one in episodes)
    found["foot_slip"] = slid / sum(touched) if sum(touched) > 0.0 else None
    found["most_tilt"] = max(one.most_tilt for one in episodes)
    return {name: found[name] for name in FIGURES}


def wilson(count: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """The score interval of a share: E. B. Wilson, JASA 22 (1927), 209 to 212.

    Args:
        count: of successes, 0 to total.
        total: of trials, at least 1.
        z: quantile of the normal distribution; the default gives 95 %.

    Returns:
        Both ends, within 0 to 1.
    """
    share = count / total
    divisor = 1.0 + z * z / total
    centre = (share + z * z / (2 * total)) / divisor
    half = z / divisor * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # Without a failure the lower end is exactly 0; rounding would leave 1e-17.
    low = 0.0 if count == 0 else max(0.0, centre - half)
    high = 1.0 if count == total else min(1.0, centre + half)
    return low, high
