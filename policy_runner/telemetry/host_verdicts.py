"""Verdicts on what every host has: CPU, memory, disk. One object a group keeps the hysteresis."""

from __future__ import annotations

import math

from policy_runner.telemetry.host.cpu import CpuReading
from policy_runner.telemetry.host.disk import DiskReading
from policy_runner.telemetry.host.memory import MemoryReading
from policy_runner.telemetry.host_files import Reading
from policy_runner.telemetry.verdict import ERROR, OK, WARN, Hysteresis, Verdict


def _number(reading: Reading, pattern: str) -> str:
    return "n/a" if reading.value is None else pattern.format(reading.value)


class CpuVerdict:
    """WARN while all cores together, or one of them, are busy to the limit."""

    def __init__(self) -> None:
        self._all = Hysteresis()

    def judge(self, reading: CpuReading, warn_load: float, clear: float) -> Verdict:
        """`warn_load` and `clear` in percent of all cores."""
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
        return Verdict(level, f"CPU saturated: {message}" if level else message, values)


class MemoryVerdict:
    """By the share of memory in use; a program ended by the kernel is an ERROR of its own."""

    def __init__(self) -> None:
        self._used = Hysteresis()
        self._kills: float | None = None

    def judge(self, reading: MemoryReading, warn: float, error: float, clear: float) -> Verdict:
        """Thresholds in percent of memory in use."""
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
        free = _number(reading.available, "{:.0f} MB available")
        message = f"{used.value:.0f} % used, {free}"
        return Verdict(level, f"memory runs out: {message}" if level else message, values)


class DiskVerdict:
    """The fullest watched file system decides."""

    def __init__(self) -> None:
        self._by_path: dict[str, Hysteresis] = {}

    def judge(self, reading: DiskReading, warn: float, error: float, clear: float) -> Verdict:
        """Thresholds in percent of room in use."""
        values: dict[str, object] = {}
        worst, words = OK, []
        for volume in reading.volumes:
            values[f"{volume.path} used [%]"] = volume.used_share.shown
            values[f"{volume.path} free [GB]"] = volume.free.shown
            values[f"{volume.path} total [GB]"] = volume.total.shown
            used = volume.used_share.value
            if used is None:
                worst = max(worst, WARN)
                words.append(f"{volume.path}: {volume.used_share.reason}")
                continue
            level = self._by_path.setdefault(volume.path, Hysteresis()).update(
                used, warn, error, clear
            )
            worst = max(worst, level)
            words.append(f"{volume.path} {used:.0f} % used" + (" (full soon)" if level else ""))
        return Verdict(worst, "; ".join(words) or "no path watched", values)
