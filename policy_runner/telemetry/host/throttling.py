"""Causes that slow the board down now: throttle alerts, frequency caps, over-current events.

These count as throttling: an active cooling device `<zone>-throttle-alert`, a frequency cap of a
thermal cooling device, serious or frequent over-current events, rising counters of an Intel
processor. These do not: the touch-temperature notice, the fan, the `throt_en` files (enabled, not
active), the cap of the power mode.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from policy_runner.telemetry.host_files import HostFiles, Reading, missing
from policy_runner.telemetry.verdict import ERROR, OK, WARN, Verdict

_COOLING = "sys/class/thermal/cooling_device*"
_INTEL = "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count"
_CAP = re.compile(r"(cpufreq|devfreq)-(.+)|Processor|thermal-cpufreq-\d+|thermal-devfreq-\d+")
_COUNTER = re.compile(r"oc(\d)_(event|irq)_cnt$")
_LOOK_AGAIN = 30


@dataclass(frozen=True)
class Counter:
    """A counter since boot and its rate [1/s] since the last sample."""

    name: str
    count: Reading
    rate: Reading


@dataclass(frozen=True)
class Cap:
    """A frequency cap: present step (0: no cap) and highest step."""

    name: str
    step: Reading
    steps: Reading


@dataclass(frozen=True)
class ThrottlingReading:
    """One sample: alerts by short zone name (0: inactive), caps, counters, the touch notice."""

    alerts: tuple[tuple[str, Reading], ...]
    caps: tuple[Cap, ...]
    counters: tuple[Counter, ...]
    hot_surface: Reading
    taken_ns: int = 0

    @property
    def active_alerts(self) -> list[str]:
        """Zones whose throttle alert is active now."""
        return [name for name, state in self.alerts if state.value]

    @property
    def active_caps(self) -> list[Cap]:
        """Caps that reduce a frequency now."""
        return [cap for cap in self.caps if cap.step.value]


class ThrottlingReader:
    """Finds the devices, also again from time to time, and reads states and counters."""

    def __init__(self, files: HostFiles) -> None:
        self._files = files
        self._alerts: dict[str, str] = {}
        self._caps: dict[str, list[str]] = {}
        self._counters: dict[str, list[str]] = {}
        self._surface = ""
        self._reads_left = 0
        self._last: dict[str, tuple[int, float]] = {}

    def read(self, now_ns: int) -> ThrottlingReading:
        """Take a sample; rates are [1/s] since the previous sample, n/a in the first one."""
        if self._reads_left <= 0:
            self._find()
            self._reads_left = _LOOK_AGAIN
        self._reads_left -= 1
        number = self._files.number
        return ThrottlingReading(
            alerts=tuple((n, number(f"{base}/cur_state")) for n, base in self._alerts.items()),
            caps=tuple(
                Cap(name, self._highest(bases, "cur_state"), self._highest(bases, "max_state"))
                for name, bases in self._caps.items()
            ),
            taken_ns=now_ns,
            counters=tuple(
                self._counter(name, files, now_ns) for name, files in self._counters.items()
            ),
            hot_surface=number(f"{self._surface}/cur_state")
            if self._surface
            else missing("no such notice on this board"),
        )

    def _find(self) -> None:
        caps: dict[str, list[str]] = {}
        for base in self._files.glob(_COOLING):
            kind = self._files.text_or(f"{base}/type")
            if kind == "hot-surface-alert":
                self._surface = base
            elif kind.endswith("-throttle-alert"):
                self._alerts[kind.removesuffix("-throttle-alert")] = base
            elif _CAP.fullmatch(kind):
                caps.setdefault(kind, []).append(base)  # all processors of a PC have one type
        self._caps.update(caps)
        found: dict[str, list[str]] = {}
        for file in self._files.glob("sys/class/hwmon/hwmon*/oc*_cnt"):
            match = _COUNTER.search(file)
            if match and self._files.text_or(f"{file.rsplit('/', 1)[0]}/name") == "soctherm_oc":
                found[f"oc{match[1]}"] = [file]
        for file in self._files.glob(_INTEL):
            found.setdefault(file.rsplit("/", 1)[1].removesuffix("_count"), []).append(file)
        self._counters.update(found)

    def _highest(self, bases: list[str], file: str) -> Reading:
        readings = [self._files.number(f"{base}/{file}") for base in bases]
        known = [reading.value for reading in readings if reading.value is not None]
        return Reading(max(known)) if known else readings[0]

    def _counter(self, name: str, files: list[str], now_ns: int) -> Counter:
        readings = [self._files.number(file) for file in files]
        bad = next((reading for reading in readings if reading.value is None), None)
        if bad:
            self._last.pop(name, None)
            return Counter(name, bad, bad)
        count = sum(reading.value or 0.0 for reading in readings)
        last = self._last.get(name)
        self._last[name] = (now_ns, count)
        if last is None or now_ns <= last[0]:
            return Counter(name, Reading(count), missing("first sample"))
        # A lower count means that a reload of the driver set the counter to zero.
        events = count - last[1] if count >= last[1] else count
        return Counter(name, Reading(count), Reading(events * 1e9 / (now_ns - last[0])))


# oc1: under-voltage, oc2: average over-current. oc3 is instantaneous and common at MAXN.
_SERIOUS = ("oc1", "oc2")


class ThrottlingVerdict:
    """WARN while a cause reduces the clocks, ERROR on serious over-current events."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, int, str]] = {}  # cause: (level, seen_ns, words)

    def judge(self, reading: ThrottlingReading, oc_rate: float, hold_s: float) -> Verdict:
        """Return the verdict for a sample.

        Args:
            reading: the sample.
            oc_rate: WARN from this rate of instantaneous over-current events [1/s].
            hold_s: a cause stays in the verdict for this time after its end [s].
        """
        for cause, level, words in _causes(reading, oc_rate):
            self._held[cause] = (level, reading.taken_ns, words)
        self._held = {
            cause: held
            for cause, held in self._held.items()
            if reading.taken_ns - held[1] <= hold_s * 1e9
        }
        values = _values(reading)
        if not self._held:
            known = reading.alerts or reading.caps or reading.counters
            nothing = "this host reports nothing about throttling"
            return Verdict(OK, "not throttled" if known else nothing, values)
        worst = sorted(self._held.values(), key=lambda held: -held[0])
        return Verdict(worst[0][0], "; ".join(held[2] for held in worst), values)


def _causes(reading: ThrottlingReading, oc_rate: float) -> list[tuple[str, int, str]]:
    causes = [
        (f"alert {zone}", WARN, f"{zone}-throttle-alert is active")
        for zone in reading.active_alerts
    ]
    for cap in reading.active_caps:
        words = f"{cap.name} capped by heat (step {cap.step.value:.0f}"
        words += ")" if cap.steps.value is None else f" of {cap.steps.value:.0f})"
        causes.append((f"cap {cap.name}", WARN, words))
    for counter in reading.counters:
        cause = _counter_cause(counter, oc_rate)
        if cause:
            causes.append((counter.name, *cause))
    return causes


def _counter_cause(counter: Counter, oc_rate: float) -> tuple[int, str] | None:
    rate = counter.rate.value
    if not rate:
        return None
    if not counter.name.startswith("oc"):
        name = counter.name.removesuffix("_throttle")
        return WARN, f"the processor throttles itself ({name}, {rate:.1f} times a second)"
    if counter.name in _SERIOUS:
        kind = "under-voltage or over-current" if counter.name == "oc1" else "over-current"
        return ERROR, f"{counter.name} events ({kind}), {rate:.1f} a second"
    if rate >= oc_rate:
        return WARN, f"{counter.name} over-current events, {rate:.1f} a second"
    return None


def _values(reading: ThrottlingReading) -> dict[str, object]:
    values: dict[str, object] = {
        "active alerts": ", ".join(reading.active_alerts) or "none",
        "active caps": ", ".join(cap.name for cap in reading.active_caps) or "none",
        "hot surface notice": reading.hot_surface.shown,
    }
    for zone, state in reading.alerts:
        values[f"{zone} throttle alert"] = state.shown
    for cap in reading.caps:
        values[f"{cap.name} cap step"] = cap.step.shown
    for counter in reading.counters:
        values[f"{counter.name} events"] = counter.count.shown
        values[f"{counter.name} events [1/s]"] = counter.rate.shown
    return values
