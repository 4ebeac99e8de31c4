"""Verdict on power: the total against what the power mode allows."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from policy_runner.telemetry.host.power import PowerReading
from policy_runner.telemetry.host.power_mode import PowerModes
from policy_runner.telemetry.verdict import OK, WARN, Hysteresis, Verdict

# Samples in the mean that is judged: peaks are what the board's own limiters are for.
_MEAN_OF = 5


@dataclass(frozen=True)
class PowerState:
    """Rails and power mode of one sample."""

    power: PowerReading
    modes: PowerModes


class PowerVerdict:
    """WARN while the mean total is above the budget or a monitor's limit is hit."""

    def __init__(self) -> None:
        self._budget = Hysteresis()
        self._last: deque[float] = deque(maxlen=_MEAN_OF)

    def judge(self, state: PowerState, budget: float, share: float, clear: float) -> Verdict:
        """`budget` [W] or 0 for the one in the mode's name; WARN from `share` percent of it."""
        power = state.power
        limit = budget or _mode_budget(state)
        alarms = [rail.name for rail in power.rails if rail.alarm]
        values: dict[str, object] = {
            "total [W]": power.total.shown,
            "total is": power.total_is,
            "budget [W]": limit or "n/a: the power mode names none for this total",
            "current alarms": ", ".join(alarms) or "none",
        }
        for rail in power.rails:
            values[f"{rail.name} [W]"] = rail.power.shown
            values[f"{rail.name} [V]"] = rail.voltage.shown
            values[f"{rail.name} [A]"] = rail.current.shown
        if alarms:
            return Verdict(WARN, f"current limit of {', '.join(alarms)} is hit", values)
        if power.total.value is None:
            self._last.clear()
            return Verdict(OK, f"total n/a: {power.total.reason}", values)
        self._last.append(power.total.value)
        mean = sum(self._last) / len(self._last)
        percent = 100.0 * mean / limit if limit else 0.0
        level = self._budget.update(percent, share, math.inf, clear)
        message = f"{power.total.value:.1f} W, {power.total_is}"
        if limit:
            message += f", budget {limit:g} W"
        return Verdict(level, f"above the budget: {message}" if level else message, values)


def _mode_budget(state: PowerState) -> float:
    """The mode's watts hold for the module; a carrier's input has no budget of its own."""
    mode = state.modes.current
    if mode is None or state.power.total_is.startswith("VIN "):
        return 0.0
    return mode.budget or 0.0
