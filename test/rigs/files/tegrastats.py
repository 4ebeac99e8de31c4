"""Parser of recorded `tegrastats` lines, JetPack 4 to 7.2, for existing logs.

The sidecar itself never starts tegrastats: without root it reports less than the files do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_RAM = re.compile(r"\bRAM (\d+)/(\d+)MB(?: \(lfb (\d+)x(\d+)([kM])B\))?")
_SWAP = re.compile(r"\bSWAP (\d+)/(\d+)MB(?: \(cached (\d+)MB\))?")
_CPU = re.compile(r"(?:\bCPU |^)\[([^\]]*)\](?:@(\d+))?")
_EMC = re.compile(r"\bEMC_FREQ (?:(\d+)%)?(?:@(\d+))?")
_GPU = re.compile(r"\bGR3D_FREQ (?:(\d+)%)?(?:@(?:\[([\d,]+)\]|(\d+)))?")
_TEMPERATURE = re.compile(r"(?<!\S)(\w+)@(-?[\d.]+)C(?:/(-?[\d.]+)C)?(?=\s|$)")
_RAIL = re.compile(r"(?<![\w@%/])([A-Za-z]\w*) (\d+)(?:mW)?/(\d+)(?:mW)?(?:/(\d+)(?:mW)?)?(?=\s|$)")
_TIME = re.compile(r"^(\d\d)-(\d\d)-(\d{4}) (\d\d:\d\d:\d\d)")
_SWITCHED_OFF = -256.0


@dataclass(frozen=True)
class CpuCore:
    """One core; both fields are None if it is offline; the clock is None if the line lacks it."""

    load: float | None
    clock: float | None


@dataclass(frozen=True)
class RailLine:
    """Watts now, mean since start, and highest (from JetPack 7.2 on)."""

    now: float
    mean: float
    highest: float | None


@dataclass(frozen=True)
class TegrastatsLine:
    """The content of one line, in MB, %, MHz, °C, W; None or absent if the line lacks it.

    `time` is ISO 8601 without zone. Sensors that are switched off are left out.
    """

    time: str
    ram_used: int | None
    ram_total: int | None
    swap_used: int | None
    swap_total: int | None
    cores: tuple[CpuCore, ...]
    emc_load: int | None
    emc_clock: int | None
    gpu_load: int | None
    gpu_clocks: tuple[int, ...]
    temperatures: dict[str, float]
    rails: dict[str, RailLine]


def parse_line(line: str) -> TegrastatsLine:
    """Parse one line; skip unknown words, because every release adds some.

    Raises:
        ValueError: the line is damaged inside a number.
    """
    line = line.strip()
    ram, swap = _numbers(_RAM, line), _numbers(_SWAP, line)
    emc, gpu = _EMC.search(line), _GPU.search(line)
    return TegrastatsLine(
        time=_time(line),
        ram_used=ram[0],
        ram_total=ram[1],
        swap_used=swap[0],
        swap_total=swap[1],
        cores=_cores(line),
        emc_load=_int(emc and emc[1]),
        emc_clock=_int(emc and emc[2]),
        gpu_load=_int(gpu and gpu[1]),
        gpu_clocks=tuple(int(n) for n in (gpu[2] or gpu[3] or "").split(",") if n) if gpu else (),
        temperatures={
            match[1].lower(): float(match[2])
            for match in _TEMPERATURE.finditer(line)
            if float(match[2]) > _SWITCHED_OFF
        },
        rails={
            match[1]: RailLine(
                int(match[2]) / 1e3,
                int(match[3]) / 1e3,
                int(match[4]) / 1e3 if match[4] else None,
            )
            for match in _RAIL.finditer(line)
            if match[1] != "NC"
        },
    )


def _numbers(pattern: re.Pattern[str], line: str) -> tuple[int | None, int | None]:
    found = pattern.search(line)
    return (int(found[1]), int(found[2])) if found else (None, None)


def _int(text: str | None) -> int | None:
    return int(text) if text else None


def _time(line: str) -> str:
    found = _TIME.match(line)
    return f"{found[3]}-{found[1]}-{found[2]}T{found[4]}" if found else ""


def _cores(line: str) -> tuple[CpuCore, ...]:
    found = _CPU.search(line)
    if not found:
        return ()
    common = float(found[2]) if found[2] else None
    cores = []
    for word in found[1].split(","):
        load, _, clock = word.partition("%")
        if word == "off" or not load.isdigit():
            cores.append(CpuCore(None, None))
        else:
            cores.append(CpuCore(float(load), float(clock[1:]) if clock[1:] else common))
    return tuple(cores)
