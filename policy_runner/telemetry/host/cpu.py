"""CPU load from the deltas of `/proc/stat`, clocks from cpufreq."""

from __future__ import annotations

import math
from dataclasses import dataclass

from policy_runner.telemetry.host_files import HostFiles, Reading, Unreadable, missing
from policy_runner.telemetry.verdict import OK, WARN, Hysteresis, Verdict

_CPU = "sys/devices/system/cpu"
_KHZ_TO_MHZ = 1e-3


@dataclass(frozen=True)
class Core:
    """One core: load [%] since the last sample, clock [MHz] that the governor requests."""

    name: str
    load: Reading
    clock: Reading


@dataclass(frozen=True)
class CpuReading:
    """One sample of the CPU. Clocks are requested clocks; hardware throttling is not in them."""

    load: Reading  # of all cores together [%]
    load_average: Reading  # over 1 min
    cores: tuple[Core, ...]
    clock_limit: Reading  # allowed now by the power mode or a thermal cap [MHz]
    hardware_limit: Reading  # of the hardware [MHz]

    @property
    def busiest(self) -> Reading:
        """Load of the busiest core [%]; one core at 100 % can make a control loop late."""
        loads = [core.load.value for core in self.cores if core.load.value is not None]
        return Reading(max(loads)) if loads else self.load

    @property
    def clock(self) -> Reading:
        """Clock of the fastest core [MHz]."""
        clocks = [core.clock.value for core in self.cores if core.clock.value is not None]
        if clocks:
            return Reading(max(clocks))
        return self.cores[0].clock if self.cores else missing("no core")

    @property
    def online(self) -> int:
        """Number of cores that are online."""
        return sum(core.load.reason != "offline" for core in self.cores)


class CpuReader:
    """Reads the CPU group; keeps the last counters for the deltas."""

    def __init__(self, files: HostFiles) -> None:
        self._files = files
        self._names = _possible_cores(files)
        self._last: dict[str, tuple[int, int]] = {}
        self._policies = _policies(files, self._names)

    def read(self, now_ns: int) -> CpuReading:
        """Take a sample; `now_ns` is not used, because the counters contain the time."""
        try:
            counters = _counters(self._files.text("proc/stat"))
        except Unreadable as error:
            counters = {}
            self._last = {}
            reason = str(error)
        else:
            reason = "offline"
        loads = {
            name: _load(self._last.get(name), counters.get(name), reason)
            for name in ("cpu", *self._names)
        }
        self._last = counters
        clocks: dict[str, Reading] = {}
        limits: list[float] = []
        hardware: list[float] = []
        for policy, names in self._policies.items():
            base = f"{_CPU}/cpufreq/{policy}"
            clock = self._files.number(f"{base}/scaling_cur_freq", _KHZ_TO_MHZ)
            clocks.update((name, clock) for name in names)
            for file, into in (
                ("scaling_max_freq", limits),
                ("cpuinfo_max_freq", hardware),
            ):
                value = self._files.number(f"{base}/{file}", _KHZ_TO_MHZ).value
                if value is not None:
                    into.append(value)
        no_clock = missing("no cpufreq on this host")
        return CpuReading(
            load=loads["cpu"],
            load_average=self._files.number("proc/loadavg"),
            cores=tuple(
                Core(name, loads[name], self._clock(name, loads, clocks, no_clock))
                for name in self._names
            ),
            clock_limit=Reading(max(limits)) if limits else no_clock,
            hardware_limit=Reading(max(hardware)) if hardware else no_clock,
        )

    @staticmethod
    def _clock(
        name: str,
        loads: dict[str, Reading],
        clocks: dict[str, Reading],
        no_clock: Reading,
    ) -> Reading:
        if loads[name].reason == "offline":
            return missing("offline")
        return clocks.get(name, no_clock)


def _counters(stat: str) -> dict[str, tuple[int, int]]:
    """Return (busy, total) ticks by line name: `cpu` for all, `cpu0`... for each online core."""
    found = {}
    for line in stat.splitlines():
        if not line.startswith("cpu"):
            break
        name, *rest = line.split()
        try:
            ticks = [int(word) for word in rest]
            int(name[3:] or 0)
        except ValueError:
            continue
        # user and nice already contain guest and guest_nice.
        total = sum(ticks[:8])
        found[name] = (total - sum(ticks[3:5]), total)
    return found


def _load(last: tuple[int, int] | None, now: tuple[int, int] | None, reason: str) -> Reading:
    if now is None:
        return missing(reason)
    if last is None:
        return missing("first sample")
    busy, total = now[0] - last[0], now[1] - last[1]
    if total <= 0:
        return missing("no ticks since the last sample")
    # iowait may run backwards between two samples (kernel documentation of /proc/stat).
    return Reading(100.0 * min(max(busy / total, 0.0), 1.0))


_MOST_CORES = 8192  # the most that Linux can be built for


def core_list(text: str) -> list[int]:
    """Return the numbers of a kernel CPU list such as `0-3,6`; [] if the text is invalid."""
    numbers: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            cores = range(int(first), int(last or first) + 1)
            if len(cores) > _MOST_CORES:
                return []
            numbers.extend(cores)
    except (ValueError, OverflowError):
        return []
    return numbers if len(numbers) <= _MOST_CORES else []


def _possible_cores(files: HostFiles) -> tuple[str, ...]:
    """Names of all cores, also of those that are switched off, so that keys stay constant."""
    numbers = core_list(files.text_or(f"{_CPU}/present"))
    if not numbers:
        names = {name for name in _counters(files.text_or("proc/stat")) if name != "cpu"}
        numbers = sorted(int(name[3:]) for name in names)
    return tuple(f"cpu{number}" for number in numbers)


def _policies(files: HostFiles, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the cores of each cpufreq policy; without a list, those up to the next policy."""
    found = [path.rsplit("/", 1)[1] for path in files.glob(f"{_CPU}/cpufreq/policy[0-9]*")]
    firsts = [int(name[6:]) for name in found] + [1 << 30]
    policies = {}
    for index, policy in enumerate(found):
        related = files.text_or(f"{_CPU}/cpufreq/{policy}/related_cpus").split()
        cores = {f"cpu{number}" for number in related if number.isdigit()}
        if not cores:
            cores = {n for n in names if firsts[index] <= int(n[3:]) < firsts[index + 1]}
        policies[policy] = tuple(name for name in names if name in cores)
    return policies


_FULL_READINGS = 5  # in a row: a burst of work, such as a garbage collection, is no fault


class CpuVerdict:
    """WARN while the load of all cores together reaches the limit, or one core stays at its own.

    A loop that needs more than its core is late, although the others idle.
    """

    def __init__(self) -> None:
        self._all = Hysteresis()
        self._cores: dict[str, int] = {}  # number of readings in a row at the limit

    def judge(
        self, reading: CpuReading, warn_load: float, clear: float, warn_core: float = math.inf
    ) -> Verdict:
        """Return the verdict for a sample.

        Args:
            reading: the sample.
            warn_load: WARN from this load of all cores [%].
            clear: OK again at this much less [%].
            warn_core: WARN if one core has at least this load in several readings in a row [%].
        """
        values: dict[str, object] = {
            "load [%]": reading.load.shown,
            "busiest core [%]": reading.busiest.shown,
            "load average 1 min": reading.load_average.shown,
            "cores": len(reading.cores),
            "cores online": reading.online,
            "clock [MHz]": reading.clock.shown,
            "clock limit [MHz]": reading.clock_limit.shown,
            "hardware clock limit [MHz]": reading.hardware_limit.shown,
        }
        for core in reading.cores:
            values[f"{core.name} load [%]"] = core.load.shown
            values[f"{core.name} clock [MHz]"] = core.clock.shown
        load = reading.load.value
        if load is None:
            return Verdict(OK, f"no load yet: {reading.load.reason}", values)
        level = self._all.update(load, warn_load, math.inf, clear)
        message = f"{load:.0f} % of {reading.online} cores, busiest {reading.busiest.value:.0f} %"
        message = f"saturated: {message}" if level else message
        full = [core.name for core in reading.cores if self._is_full(core, warn_core, clear)]
        if full and not level:
            return Verdict(WARN, f"{message}; at its limit: {', '.join(full)}", values)
        return Verdict(level, message, values)

    def _is_full(self, core: Core, warn_core: float, clear: float) -> bool:
        """Count the readings of a core at the limit; whether there are enough."""
        count, load = self._cores.get(core.name, 0), core.load.value
        limit = warn_core - (clear if count >= _FULL_READINGS else 0.0)
        self._cores[core.name] = count + 1 if load is not None and load >= limit else 0
        return self._cores[core.name] >= _FULL_READINGS
