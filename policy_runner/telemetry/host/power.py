"""Power rails of INA3221 and INA238 monitors (hwmon, old IIO), and the total of each board."""

from __future__ import annotations

import math
import os
from collections import deque
from dataclasses import dataclass, replace

from policy_runner.telemetry.host.power_mode import PowerModes
from policy_runner.telemetry.host_files import HostFiles, Reading, missing
from policy_runner.telemetry.verdict import OK, WARN, Hysteresis, Verdict

_CHIPS = {"ina3221", "ina238", "ina226", "ina219"}
_PLACES = (
    "sys/class/hwmon/hwmon*",
    "sys/bus/i2c/drivers/ina*/*/hwmon/hwmon*",
    "sys/bus/i2c/devices/*/hwmon/hwmon*",
)
_IIO = "sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*"
# Rails that supply the whole module or the whole carrier board: this rail alone is the total.
_WHOLE = {
    "VIN": "carrier input",
    "VDD_IN": "whole module",
    "POM_5V_IN": "whole module",
}
# Rails that together supply the module if no single rail does (AGX Orin, AGX Xavier).
_SUMS = (
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
)
_LOOK_AGAIN = 30


@dataclass(frozen=True)
class Rail:
    """One rail: power [W], voltage [V], current [A]; `alarm`: the monitor's limit is reached."""

    name: str
    power: Reading
    voltage: Reading
    current: Reading
    alarm: bool = False


@dataclass(frozen=True)
class PowerReading:
    """One sample of the rails; `total` [W]; `total_is` says which rails it covers."""

    rails: tuple[Rail, ...]
    total: Reading
    total_is: str


@dataclass(frozen=True)
class _Place:
    """Files of one rail; without a file `power` is voltage times current."""

    name: str
    voltage: str
    current: str
    power: str
    power_scale: float
    alarms: tuple[str, ...]


class PowerReader:
    """Finds the rails, also again from time to time, and reads them.

    Reading a register takes half a millisecond of bus time on a board, so only shown figures are
    read.
    """

    def __init__(self, files: HostFiles) -> None:
        self._files = files
        self._places: dict[str, _Place] = {}
        self._reads_left = 0

    def read(self, now_ns: int) -> PowerReading:
        """Take a sample."""
        if self._reads_left <= 0:
            self._places.update((place.name, place) for place in find_rails(self._files))
            self._reads_left = _LOOK_AGAIN
        self._reads_left -= 1
        rails = tuple(self._rail(place) for place in self._places.values())
        if any(rail.power.reason in ("not there", "device gone") for rail in rails):
            self._reads_left = 0
        return PowerReading(rails, *total(rails))

    def _rail(self, place: _Place) -> Rail:
        voltage = self._files.number(place.voltage, 1e-3)
        current = self._files.number(place.current, 1e-3)
        if place.power:
            power = self._files.number(place.power, place.power_scale)
        elif voltage.value is None or current.value is None:
            power = missing(voltage.reason or current.reason)
        else:
            power = Reading(voltage.value * current.value)
        alarm = any(self._files.number(file).value for file in place.alarms)
        return Rail(place.name, power, voltage, current, alarm)


def total(rails: tuple[Rail, ...]) -> tuple[Reading, str]:
    """Return the board's total [W] and which rails it covers.

    Rails of a part are never added to a rail that already includes them.
    """
    by_name = {rail.name: rail for rail in rails}
    for name, meaning in _WHOLE.items():
        if name in by_name:
            return by_name[name].power, f"{name} ({meaning})"
    for names in _SUMS:
        if all(name in by_name for name in names):
            powers = [by_name[name].power for name in names]
            words = f"sum of {' + '.join(names)}, without the carrier"
            bad = next((power for power in powers if power.value is None), None)
            return bad or Reading(sum(power.value or 0.0 for power in powers)), words
    reason = "no rail carries the whole board" if rails else "no power monitor on this host"
    return missing(reason), "n/a"


def find_rails(files: HostFiles) -> list[_Place]:
    """Find the rails of all monitors; a chip that sysfs shows in several places counts once."""
    chips: dict[str, str] = {}
    for pattern in _PLACES:
        for base in files.glob(pattern):
            if files.text_or(f"{base}/name") in _CHIPS:
                chips.setdefault(os.path.realpath(files.path(base)), base)
    places = [place for base in chips.values() for place in _chip_rails(files, base)]
    places += [_iio_rail(file, files.text_or(file)) for file in files.glob(_IIO)]
    seen: dict[str, int] = {}
    unique = []
    for place in places:  # two monitors with the same label are two rails
        count = seen[place.name] = seen.get(place.name, 0) + 1
        unique.append(place if count == 1 else replace(place, name=f"{place.name} {count}"))
    return unique


def _chip_rails(files: HostFiles, base: str) -> list[_Place]:
    if files.text_or(f"{base}/name") != "ina3221":
        return [_single_rail(files, base)]
    places = []
    for channel in (1, 2, 3):  # channels 4 to 6 are shunt voltages, 7 is their sum
        label = files.text_or(f"{base}/in{channel}_label")
        current = f"{base}/curr{channel}_input"
        if not label or "NC" in label.split() or "sum of shunt" in label:
            continue
        if files.exists(current):
            alarms = [f"{base}/curr{channel}_{kind}_alarm" for kind in ("crit", "max")]
            known = tuple(file for file in alarms if files.exists(file))
            places.append(_Place(label, f"{base}/in{channel}_input", current, "", 1.0, known))
    return places


def _single_rail(files: HostFiles, base: str) -> _Place:
    """INA238 and similar chips: one rail with a power register in microwatts."""
    label = files.text_or(f"{base}/label") or files.text_or(f"{base}/in1_label") or "VIN"
    power = f"{base}/power1_input"
    own = power if files.exists(power) else ""
    return _Place(label, f"{base}/in1_input", f"{base}/curr1_input", own, 1e-6, ())


def _iio_rail(file: str, name: str) -> _Place:
    """Kernel 4.9 (JetPack 4): separate files in milliwatts, millivolts and milliamperes."""
    base, number = file.rsplit("/", 1)[0], file.rsplit("_", 1)[1]
    return _Place(
        name,
        f"{base}/in_voltage{number}_input",
        f"{base}/in_current{number}_input",
        f"{base}/in_power{number}_input",
        1e-3,
        (),
    )


# Samples in the judged mean. Short peaks are not judged; the board's own limiters handle them.
_MEAN_OF = 5


@dataclass(frozen=True)
class PowerState:
    """Rails and power mode of one sample."""

    power: PowerReading
    modes: PowerModes


class PowerVerdict:
    """WARN while the mean total is above the budget's share, or a monitor's limit is reached."""

    def __init__(self) -> None:
        self._budget = Hysteresis()
        self._last: deque[float] = deque(maxlen=_MEAN_OF)

    def judge(self, state: PowerState, budget: float, share: float, clear: float) -> Verdict:
        """Return the verdict for a sample.

        Args:
            state: the sample.
            budget: [W]; 0: the watts in the power mode's name.
            share: WARN from this share of the budget [%].
            clear: OK again at this much less [%].
        """
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
    """Return the power mode's watts; 0 for a carrier's input, which the mode does not limit."""
    mode = state.modes.current
    if mode is None or state.power.total_is.startswith("VIN "):
        return 0.0
    return mode.budget or 0.0
