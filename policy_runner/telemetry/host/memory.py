"""Memory and swap from `/proc/meminfo`, the memory clock from the board."""

from __future__ import annotations

from dataclasses import dataclass, field

from policy_runner.telemetry.host_files import HostFiles, Reading, Unreadable, missing
from policy_runner.telemetry.verdict import ERROR, OK, Hysteresis, Verdict

_KB_TO_MB = 1024 / 1e6
_RATE = "sys/kernel/debug/bpmp/debug/clk/emc/rate"
_THOR = "sys/class/devfreq/bwmgr/cur_freq"
_LOADS = ("sys/kernel/debug/cactmon/mc_all", "sys/kernel/actmon_avg_activity/mc_all")
_CAPS = ("sys/kernel/nvpmodel_clk_cap/emc", "sys/kernel/nvpmodel_emc_cap/emc_iso_cap")
_HZ_TO_MHZ = 1e-6
_NOT_THERE = missing("not there")


@dataclass(frozen=True)
class EmcReading:
    """Clock [MHz], load [%] and the power mode's cap [MHz]."""

    clock: Reading = _NOT_THERE
    load: Reading = _NOT_THERE
    cap: Reading = _NOT_THERE


def read_emc(files: HostFiles) -> EmcReading:
    """Read clock, load and cap of the memory; a missing figure has its reason."""
    clock = _first(files, (_THOR, _RATE), _HZ_TO_MHZ)
    activity = _first(files, _LOADS, 1.0)
    load = activity
    if activity.value is not None:
        # The unit of the activity is kHz of the memory clock.
        load = Reading(activity.value / (clock.value * 1e3) * 100.0) if clock.value else clock
    return EmcReading(clock, load, _first(files, _CAPS, _HZ_TO_MHZ))


def _first(files: HostFiles, paths: tuple[str, ...], scale: float) -> Reading:
    reading = missing("not there")
    for file in paths:
        reading = files.number(file, scale)
        if reading.value is not None:
            break
    return reading


@dataclass(frozen=True)
class MemoryReading:
    """One sample of the memory [MB, 10^6 bytes]."""

    total: Reading
    available: Reading  # for programs, including caches that the kernel can free
    swap_total: Reading
    swap_used: Reading
    gpu_mapped: Reading
    oom_kills: Reading
    emc: EmcReading = field(default_factory=EmcReading)

    @property
    def used_share(self) -> Reading:
        """Memory in use [%]."""
        if self.total.value and self.available.value is not None:
            return Reading(100.0 * (1.0 - self.available.value / self.total.value))
        return missing(self.total.reason or self.available.reason or "total is 0")


class MemoryReader:
    """Reads the memory group."""

    def __init__(self, files: HostFiles) -> None:
        self._files = files

    def read(self, now_ns: int) -> MemoryReading:
        """Take a sample."""
        try:
            lines = self._files.text("proc/meminfo").splitlines()
            reason = "not in /proc/meminfo"
        except Unreadable as error:
            lines, reason = [], f"/proc/meminfo: {error}"
        found = {}
        for line in lines:
            name, _, rest = line.partition(":")
            words = rest.split()
            if words and words[0].isdigit():
                found[name] = Reading(int(words[0]) * _KB_TO_MB)
        none = missing(reason)
        swap_total, swap_free = (
            found.get("SwapTotal", none),
            found.get("SwapFree", none),
        )
        swap_used = none
        if swap_total.value is not None and swap_free.value is not None:
            swap_used = Reading(swap_total.value - swap_free.value)
        return MemoryReading(
            total=found.get("MemTotal", none),
            available=found.get("MemAvailable", none),
            swap_total=swap_total,
            swap_used=swap_used,
            gpu_mapped=found.get("NvMapMemUsed", none),
            oom_kills=self._oom_kills(),
            emc=read_emc(self._files),
        )

    def _oom_kills(self) -> Reading:
        """Number of programs that the kernel killed because memory ran out, since boot."""
        for line in self._files.text_or("proc/vmstat").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.isdigit():
                return Reading(float(value))
        return missing("not in /proc/vmstat")


class MemoryVerdict:
    """Judges the share of used memory; also ERROR when the kernel killed a program."""

    def __init__(self) -> None:
        self._used = Hysteresis()
        self._kills: float | None = None

    def judge(self, reading: MemoryReading, warn: float, error: float, clear: float) -> Verdict:
        """Return the verdict for a sample; the thresholds are shares of used memory [%]."""
        used = reading.used_share
        values: dict[str, object] = {
            "used [%]": used.shown,
            "available [MB]": reading.available.shown,
            "total [MB]": reading.total.shown,
            "swap used [MB]": reading.swap_used.shown,
            "swap total [MB]": reading.swap_total.shown,
            "GPU mapped [MB]": reading.gpu_mapped.shown,
            "oom kills": reading.oom_kills.shown,
            "EMC clock [MHz]": reading.emc.clock.shown,
            "EMC load [%]": reading.emc.load.shown,
            "EMC clock limit [MHz]": reading.emc.cap.shown,
        }
        kills = reading.oom_kills.value
        last, self._kills = self._kills, kills
        if kills is not None and last is not None and kills > last:
            return Verdict(ERROR, "out of memory: the kernel ended a program", values)
        if used.value is None:
            return Verdict(OK, f"memory n/a: {used.reason}", values)
        level = self._used.update(used.value, warn, error, clear)
        free = reading.available.text("{:.0f} MB available")
        message = f"{used.value:.0f} % used, {free}"
        return Verdict(level, f"memory runs out: {message}" if level else message, values)
