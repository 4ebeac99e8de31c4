"""Temperatures of the thermal zones and hwmon sensors, each with the board's limits.

A sensor's limits are its own trips. If it has none (a junction zone often has none), they are the
lowest trips of the board's other zones. If the board has none, the caller's generic limits apply.
Passive trips that only warn of a hot surface do not count as throttling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from policy_runner.telemetry.host_files import HostFiles, Reading, Unreadable, missing
from policy_runner.telemetry.verdict import OK, WARN, Hysteresis, Verdict

_THERMAL = "sys/class/thermal"
_HWMON = "sys/class/hwmon"
_MILLI = 1e-3
# A sensor that is switched off reports -256 °C. A trip that is not set reports 0 or -274 °C.
_COLDEST, _HOTTEST = -100.0, 250.0
# Jetson boards have touch-temperature notices: passive, 70 °C, bound to `hot-surface-alert` only.
_HOT_SURFACE = 75.0
# Number of reads between two searches for sensors.
_LOOK_AGAIN = 10
# Zones with constant values, not measurements.
_NOT_SENSORS = {"pmic-die", "pmic"}


@dataclass(frozen=True)
class Limits:
    """Temperatures [°C] at which the board throttles, and at which it switches itself off."""

    throttle: float | None = None
    critical: float | None = None
    source: str = "none"  # own, board or none

    @property
    def known(self) -> bool:
        """Whether at least one of the two is known."""
        return self.throttle is not None or self.critical is not None


@dataclass(frozen=True)
class Temperature:
    """One sensor: short name, temperature [°C], limits."""

    name: str
    value: Reading
    limits: Limits

    @property
    def margin(self) -> Reading:
        """Difference to the throttling trip [°C]; to the critical trip if only that is known."""
        ceiling = self.limits.throttle or self.limits.critical
        if self.value.value is None:
            return self.value
        if ceiling is None:
            return missing("no trips")
        return Reading(ceiling - self.value.value)


@dataclass(frozen=True)
class ThermalReading:
    """All sensors in the board's order; `reason` says why there are none."""

    sensors: tuple[Temperature, ...]
    reason: str = ""

    @property
    def hottest(self) -> Temperature | None:
        """The hottest sensor with a value."""
        warm = [sensor for sensor in self.sensors if sensor.value.value is not None]
        return max(warm, key=lambda sensor: sensor.value.value or 0.0, default=None)

    @property
    def tightest(self) -> Temperature | None:
        """The sensor with the smallest margin to its limits."""
        warm = [sensor for sensor in self.sensors if sensor.margin.value is not None]
        return min(warm, key=lambda sensor: sensor.margin.value or 0.0, default=None)


@dataclass(frozen=True)
class _Place:
    name: str
    file: str
    limits: Limits


class ThermalReader:
    """Finds sensors and trips, then reads temperatures.

    It searches again from time to time and when a sensor vanishes, because drivers load late and
    hwmon numbers change. A sensor that was found once keeps its name, so the keys stay the same.
    """

    def __init__(self, files: HostFiles) -> None:
        self._files = files
        self._places: dict[str, _Place] = {}
        self._reads_left = 0

    def read(self, now_ns: int) -> ThermalReading:
        """Take a sample."""
        if self._reads_left <= 0:
            self._places.update((place.name, place) for place in _find(self._files))
            self._reads_left = _LOOK_AGAIN
        self._reads_left -= 1
        sensors = []
        for place in self._places.values():
            value = temperature(self._files, place.file)
            if value.reason in ("not there", "device gone"):
                self._reads_left = 0
            sensors.append(Temperature(place.name, value, place.limits))
        return ThermalReading(tuple(sensors), "" if sensors else "no temperature sensor")


def temperature(files: HostFiles, file: str) -> Reading:
    """Read a temperature [°C] from a file in millidegrees; a switched off sensor has no value."""
    reading = files.number(file, _MILLI)
    if reading.value is not None and not _COLDEST < reading.value < _HOTTEST:
        return missing(f"switched off ({reading.value:g} °C)")
    return reading


def zone_name(kind: str) -> str:
    """Return the short name of a zone type: `cpu` for `CPU-therm`, `cpu-thermal`, `cpu_thermal`."""
    name = kind.lower()
    for suffix in ("-thermal", "_thermal", "-therm", "_therm", "_tegra"):
        name = name.removesuffix(suffix)
    return name


def _find(files: HostFiles) -> list[_Place]:
    zones = [
        place for path in files.glob(f"{_THERMAL}/thermal_zone*") if (place := _zone(files, path))
    ]
    board = Limits(
        throttle=min((z.limits.throttle for z in zones if z.limits.throttle), default=None),
        critical=min((z.limits.critical for z in zones if z.limits.critical), default=None),
        source="board",
    )
    if board.known:
        zones = [z if z.limits.known else replace(z, limits=board) for z in zones]
    places = zones + _hwmon(files, {place.name for place in zones})
    seen: dict[str, int] = {}
    unique = []
    for place in places:
        count = seen[place.name] = seen.get(place.name, 0) + 1
        unique.append(place if count == 1 else replace(place, name=f"{place.name} {count}"))
    return unique


def _zone(files: HostFiles, path: str) -> _Place | None:
    try:
        name = zone_name(files.text(f"{path}/type"))
    except Unreadable:
        return None
    if name in _NOT_SENSORS:
        return None
    return _Place(name, f"{path}/temp", _zone_limits(files, path))


def _zone_limits(files: HostFiles, path: str) -> Limits:
    surface = _hot_surface_trips(files, path)
    passive, hot, critical = [], [], []
    for file in files.glob(f"{path}/trip_point_*_type"):
        number = file.rsplit("_", 2)[1]
        value = temperature(files, f"{path}/trip_point_{number}_temp").value
        if value is None or value <= 0.0:
            continue
        kind = files.text_or(file)
        if kind == "passive" and number not in surface:
            passive.append(value)
        elif kind == "hot":
            hot.append(value)
        elif kind == "critical":
            critical.append(value)
    # The highest passive trip counts: lower ones are notices, or start a governor's polling.
    throttle = min([max(passive), *hot] if passive else hot, default=None)
    limits = Limits(throttle, min(critical, default=None))
    return replace(limits, source="own") if limits.known else limits


def _hot_surface_trips(files: HostFiles, path: str) -> set[str]:
    """Return the numbers of the passive trips that do not throttle.

    They are found by their bindings if the kernel shows these (`cdevN`, `cdevN_trip_point`). Else,
    on a Jetson, a passive trip at 75 °C or less is taken for the touch-temperature notice.
    """
    bound: dict[str, set[str]] = {}
    for file in files.glob(f"{path}/cdev*_trip_point"):
        device = files.text_or(f"{file.removesuffix('_trip_point')}/type")
        bound.setdefault(files.text_or(file), set()).add(device)
    surface = {trip for trip, devices in bound.items() if devices == {"hot-surface-alert"}}
    if not bound and _is_jetson(files):
        for file in files.glob(f"{path}/trip_point_*_temp"):
            value = temperature(files, file).value
            if value is not None and value <= _HOT_SURFACE:
                surface.add(file.rsplit("_", 2)[1])
    return surface


def _is_jetson(files: HostFiles) -> bool:
    compatible = files.text_or("proc/device-tree/compatible")
    return "nvidia,tegra" in compatible or files.exists("etc/nv_tegra_release")


def _hwmon(files: HostFiles, zones: set[str]) -> list[_Place]:
    """Find hwmon sensors, without those that mirror a thermal zone (by name or link)."""
    places = []
    for base in files.glob(f"{_HWMON}/hwmon*"):
        chip = files.text_or(f"{base}/name")
        if not chip or zone_name(chip) in zones:
            continue
        if files.exists(f"{base}/device/type") and files.exists(f"{base}/device/temp"):
            continue
        for file in files.glob(f"{base}/temp*_input"):
            stem = file.removesuffix("_input")
            label = files.text_or(f"{stem}_label") or stem.rsplit("/temp", 1)[1]
            critical = temperature(files, f"{stem}_crit").value
            limits = Limits(None, critical, "own") if critical and critical > 0.0 else Limits()
            places.append(_Place(f"{chip} {label}", file, limits))
    return places


@dataclass(frozen=True)
class ThermalThresholds:
    """Thresholds of the levels [°C]."""

    warn_margin: float = 5.0  # below the throttling trip
    error_margin: float = 3.0  # below the critical trip
    clear: float = 3.0  # a level ends at this much less
    generic_warn: float = 90.0  # for a sensor without limits
    generic_error: float = 100.0

    def levels(self, limits: Limits) -> tuple[float, float]:
        """Return (WARN from, ERROR from) [°C] for a sensor with these limits.

        ERROR belongs to the critical trip, which switches the board off. If only that trip is
        known, the board throttles some degrees below it, so WARN begins two margins below it.
        """
        if not limits.known:
            return self.generic_warn, self.generic_error
        error = math.inf if limits.critical is None else limits.critical - self.error_margin
        if limits.throttle is not None:
            return min(limits.throttle - self.warn_margin, error), error
        return error + self.error_margin - 2.0 * self.warn_margin, error


class ThermalVerdict:
    """Judges each sensor with its own hysteresis; the worst sensor decides."""

    def __init__(self) -> None:
        self._by_name: dict[str, Hysteresis] = {}

    def judge(self, reading: ThermalReading, thresholds: ThermalThresholds) -> Verdict:
        """Return the verdict for a sample; without any sensor it is OK, and the message says so."""
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
