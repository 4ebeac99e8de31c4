"""GPU load and clock: nvgpu's `load` and devfreq on Xavier and Orin, else NVML."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from policy_runner.telemetry.host_files import HostFiles, Reading, missing
from policy_runner.telemetry.verdict import OK, WARN, Verdict

_DEVFREQ = "sys/class/devfreq"
_NAMES = {"gpu", "gv11b", "ga10b", "gp10b", "gm20b"}
_THOR = f"{_DEVFREQ}/gpu-gpc-0"
_LOADS = (
    "sys/devices/platform/gpu.0/load",
    "sys/devices/gpu.0/load",
    "sys/devices/platform/bus@0/17000000.gpu/load",
    "sys/devices/platform/17000000.ga10b/load",
    "sys/devices/17000000.ga10b/load",
    "sys/devices/17000000.gv11b/load",
)
_LOOK_AGAIN = 10


@dataclass(frozen=True)
class GpuReading:
    """Load [%], clocks [MHz] (now, lowest and highest allowed), power [W], temperature [°C]."""

    name: str
    source: str
    load: Reading
    clock: Reading
    clock_low: Reading
    clock_high: Reading
    governor: str
    memory_used: Reading
    power: Reading
    temperature: Reading
    slowdown: str = ""  # NVML's reasons for a reduced clock


class GpuReader:
    """Reads the GPU; searches again until it finds one, because devfreq may appear late."""

    def __init__(self, files: HostFiles, nvml: Any = None) -> None:
        """Store the arguments; `nvml` None: `read` opens NVML itself if it needs it."""
        self._files = files
        self._nvml = nvml
        self._asked_nvml = nvml is not None
        self._devfreq = ""
        self._load = ""
        self._reads_left = 0

    def read(self, now_ns: int) -> GpuReading:
        """Take a sample; if a board has the clock in sysfs and the load in NVML, merge them."""
        if not self._devfreq and self._reads_left <= 0:
            self._find()
            self._reads_left = _LOOK_AGAIN
        self._reads_left -= 1
        sysfs = self._sysfs()
        if sysfs.load.value is not None and sysfs.clock.value is not None:
            return sysfs
        if not self._asked_nvml:
            self._asked_nvml = True
            # NVML describes this machine, so it is not used for files in another folder.
            self._nvml = open_nvml() if self._files.root == "/" else None
        if self._nvml is None:
            return sysfs
        return _merge(sysfs, read_nvml(self._nvml))

    def _find(self) -> None:
        files = self._files
        for base in files.glob(f"{_DEVFREQ}/*"):
            node = files.text_or(f"{base}/device/of_node/name")
            word = base.rsplit("/", 1)[1].rsplit(".", 1)[-1]
            if node in _NAMES or word in _NAMES:
                self._devfreq, self._load = base, f"{base}/device/load"
        if not self._devfreq and files.exists(_THOR):
            self._devfreq = _THOR
        if not self._load or not files.exists(self._load):
            self._load = next((path for path in _LOADS if files.exists(path)), "")

    def _sysfs(self) -> GpuReading:
        number, base = self._files.number, self._devfreq
        none = missing("no GPU found")
        no_load = missing("not in sysfs on this board (NVML: install nvidia-ml-py)")
        return GpuReading(
            name=base.rsplit("/", 1)[-1],
            source="sysfs" if base or self._load else "none",
            load=number(self._load, 0.1) if self._load else (no_load if base else none),
            clock=number(f"{base}/cur_freq", 1e-6) if base else none,
            clock_low=number(f"{base}/min_freq", 1e-6) if base else none,
            clock_high=number(f"{base}/max_freq", 1e-6) if base else none,
            governor=self._files.text_or(f"{base}/governor") if base else "",
            memory_used=missing("shared with the CPU" if base or self._load else none.reason),
            power=missing("see the power status" if base or self._load else none.reason),
            temperature=missing("see the temperature status" if base else none.reason),
        )


def _merge(sysfs: GpuReading, nvml: GpuReading) -> GpuReading:
    """Take NVML's numbers for those that sysfs does not have."""
    fields = ("load", "clock", "clock_low", "clock_high", "memory_used", "power", "temperature")
    chosen: dict[str, Any] = {}
    for field in fields:
        own: Reading = getattr(sysfs, field)
        other: Reading = getattr(nvml, field)
        chosen[field] = own if own.value is not None or other.value is None else other
    source = f"{sysfs.source} + NVML" if sysfs.source != "none" else "NVML"
    name = nvml.name or sysfs.name
    return replace(sysfs, name=name, source=source, slowdown=nvml.slowdown, **chosen)


def judge_gpu(reading: GpuReading) -> Verdict:
    """Return the verdict for a sample: WARN if NVML reports a reduced clock.

    Temperatures and frequency caps have their own statuses.
    """
    values: dict[str, object] = {
        "gpu": reading.name or "n/a",
        "source": reading.source,
        "load [%]": reading.load.shown,
        "clock [MHz]": reading.clock.shown,
        "clock low limit [MHz]": reading.clock_low.shown,
        "clock high limit [MHz]": reading.clock_high.shown,
        "governor": reading.governor or "n/a",
        "memory used [MB]": reading.memory_used.shown,
        "power [W]": reading.power.shown,
        "temperature [C]": reading.temperature.shown,
        "slowdown": reading.slowdown or "none",
    }
    words = []
    for figure, pattern in ((reading.load, "{:.0f} %"), (reading.clock, "at {:.0f} MHz")):
        if figure.value is not None:
            words.append(pattern.format(figure.value))
    if not words:
        return Verdict(OK, f"n/a: {reading.load.reason}", values)
    if reading.slowdown:
        words.append(f"held down: {reading.slowdown}")
    return Verdict(WARN if reading.slowdown else OK, " ".join(words), values)


# Bits of the clock event reasons that mean a slowdown for heat, power or current.
_SLOWDOWNS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}


def open_nvml() -> Any:
    """Import and initialize the module `pynvml`; None if library or driver are missing.

    Call it in the process that reads, because NVML does not work after a fork.
    """
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # noqa: BLE001 - any failure means that NVML is not available
        return None
    return nvml


def read_nvml(nvml: Any) -> GpuReading:
    """Take a sample of the first GPU; figures that fail are missing, with NVML's reason."""
    try:
        device = nvml.nvmlDeviceGetHandleByIndex(0)
    except Exception as error:  # noqa: BLE001 - NVML's error classes differ from version to version
        none = missing(_reason(error))
        return GpuReading("", "NVML", none, none, none, none, "", none, none, none)

    def number(call: Callable[[], Any], scale: float = 1.0) -> Reading:
        try:
            return Reading(float(call()) * scale)
        except Exception as error:  # noqa: BLE001
            return missing(_reason(error))

    def text(call: Callable[[], Any]) -> str:
        try:
            name = call()
        except Exception:  # noqa: BLE001
            return ""
        return name.decode() if isinstance(name, bytes) else str(name)

    sm = getattr(nvml, "NVML_CLOCK_SM", 1)
    return GpuReading(
        name=text(lambda: nvml.nvmlDeviceGetName(device)),
        source="NVML",
        load=number(lambda: nvml.nvmlDeviceGetUtilizationRates(device).gpu),
        clock=number(lambda: nvml.nvmlDeviceGetClockInfo(device, sm)),
        clock_low=missing("not reported by NVML"),
        clock_high=number(lambda: nvml.nvmlDeviceGetMaxClockInfo(device, sm)),
        governor="",
        memory_used=number(lambda: nvml.nvmlDeviceGetMemoryInfo(device).used, 1e-6),
        power=number(lambda: nvml.nvmlDeviceGetPowerUsage(device), 1e-3),
        temperature=number(lambda: nvml.nvmlDeviceGetTemperature(device, 0)),
        slowdown=_slowdown(number(lambda: _event_reasons(nvml, device)).value),
    )


def _event_reasons(nvml: Any, device: Any) -> int:
    for name in ("EventReasons", "ThrottleReasons"):  # the older name of the same call
        call = getattr(nvml, f"nvmlDeviceGetCurrentClocks{name}", None)
        if call is not None:
            return int(call(device))
    raise LookupError("no call for the clock event reasons")


def _slowdown(bits: float | None) -> str:
    return ", ".join(words for bit, words in _SLOWDOWNS.items() if int(bits or 0) & bit)


def _reason(error: Exception) -> str:
    """Return NVML's error text, shortened for the usual case."""
    name = type(error).__name__
    return "not supported by NVML" if "NotSupported" in name else f"NVML: {error or name}"
