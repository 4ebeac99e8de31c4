"""Verdict on temperatures against the board's own trips."""

from __future__ import annotations

import math
from dataclasses import dataclass

from policy_runner.telemetry.host.thermal import Limits, Temperature, ThermalReading
from policy_runner.telemetry.verdict import OK, WARN, Hysteresis, Verdict


@dataclass(frozen=True)
class ThermalThresholds:
    """Degrees. Margins are counted below the board's trips; generic ones where it has none."""

    warn_margin: float = 5.0
    error_margin: float = 3.0
    clear: float = 3.0
    generic_warn: float = 90.0
    generic_error: float = 100.0

    def levels(self, limits: Limits) -> tuple[float, float]:
        """(WARN from, ERROR from) for a sensor with these limits [°C].

        ERROR is for the trip that switches the board off. A board that tells only that one
        slows down some degrees below it, so WARN comes two margins before it.
        """
        if not limits.known:
            return self.generic_warn, self.generic_error
        error = math.inf if limits.critical is None else limits.critical - self.error_margin
        if limits.throttle is not None:
            return min(limits.throttle - self.warn_margin, error), error
        return error + self.error_margin - 2.0 * self.warn_margin, error


class ThermalVerdict:
    """One hysteresis a sensor; the worst sensor decides."""

    def __init__(self) -> None:
        self._by_name: dict[str, Hysteresis] = {}

    def judge(self, reading: ThermalReading, thresholds: ThermalThresholds) -> Verdict:
        """Level, sentence and values; no sensor at all is OK and said."""
        values = _summary(reading)
        worst, worst_sensor = OK, None
        for sensor in reading.sensors:
            values[f"{sensor.name} [C]"] = sensor.value.shown
            values[f"{sensor.name} margin [C]"] = sensor.margin.shown
            if sensor.value.value is None:
                continue
            warn, error = thresholds.levels(sensor.limits)
            level = self._by_name.setdefault(sensor.name, Hysteresis()).update(
                sensor.value.value, warn, error, thresholds.clear
            )
            if level > worst:
                worst, worst_sensor = level, sensor
        shown = worst_sensor or reading.hottest
        if shown is None:
            reason = reading.reason or "every sensor is switched off"
            return Verdict(OK, f"temperature n/a: {reason}", values)
        return Verdict(worst, _sentence(shown, worst), values)


def _summary(reading: ThermalReading) -> dict[str, object]:
    hottest, tightest = reading.hottest, reading.tightest
    none = f"n/a: {reading.reason or 'no value'}"
    limits = tightest.limits if tightest else Limits()
    return {
        "hottest": hottest.name if hottest else none,
        "hottest [C]": hottest.value.shown if hottest else none,
        "margin [C]": tightest.margin.shown if tightest else "n/a: no trips",
        "throttle trip [C]": "n/a: no trip" if limits.throttle is None else limits.throttle,
        "critical trip [C]": "n/a: no trip" if limits.critical is None else limits.critical,
        "limits from": limits.source if limits.known else "generic",
    }


def _sentence(sensor: Temperature, level: int) -> str:
    now = f"{sensor.name} {sensor.value.value:.1f} °C"
    margin, limits = sensor.margin.value, sensor.limits
    if margin is None:
        return f"{now}, above the generic limit" if level else now
    name = "throttling" if limits.throttle is not None else "the critical trip"
    ceiling = limits.throttle if limits.throttle is not None else limits.critical
    side = f"{abs(margin):.1f} °C {'below' if margin >= 0 else 'above'} {name} at {ceiling:g} °C"
    if level > WARN:
        return f"{now}, the board switches off at {limits.critical or 0.0:g} °C"
    return f"{now}, {side}"
