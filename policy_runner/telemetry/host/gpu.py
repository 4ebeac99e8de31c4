"""GPU load and clock: nvgpu's `load` and devfreq on Xavier and Orin, NVML where sysfs has none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from policy_runner.telemetry.host.nvml import open_nvml, read_nvml
from policy_runner.telemetry.host_files import Reading, Tree, missing

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
    slowdown: str = ""  # reasons that NVML gives for a clock held down


class GpuReader:
    """Looks for the GPU again while there is none: devfreq may appear after the service starts."""

    def __init__(self, tree: Tree, nvml: Any = None) -> None:
        self._tree = tree
        self._nvml = nvml
        self._asked_nvml = nvml is not None
        self._devfreq = ""
        self._load = ""
        self._reads_left = 0

    def read(self, now_ns: int) -> GpuReading:
        """One sample; merges sysfs (clock) and NVML (load) where a board splits them."""
        if not self._devfreq and self._reads_left <= 0:
            self._find()
            self._reads_left = _LOOK_AGAIN
        self._reads_left -= 1
        sysfs = self._sysfs()
        if sysfs.load.value is not None and sysfs.clock.value is not None:
            return sysfs
        if not self._asked_nvml:
            self._asked_nvml = True
            # Only for the machine's own root: a tree in a folder has no GPU of its own.
            self._nvml = open_nvml() if self._tree.root == "/" else None
        if self._nvml is None:
            return sysfs
        return _merge(sysfs, read_nvml(self._nvml))

    def _find(self) -> None:
        tree = self._tree
        for base in tree.glob(f"{_DEVFREQ}/*"):
            node = tree.text_or(f"{base}/device/of_node/name")
            word = base.rsplit("/", 1)[1].rsplit(".", 1)[-1]
            if node in _NAMES or word in _NAMES:
                self._devfreq, self._load = base, f"{base}/device/load"
        if not self._devfreq and tree.exists(_THOR):
            self._devfreq = _THOR
        if not self._load or not tree.exists(self._load):
            self._load = next((path for path in _LOADS if tree.exists(path)), "")

    def _sysfs(self) -> GpuReading:
        number, base = self._tree.number, self._devfreq
        none = missing("no GPU found")
        no_load = missing("not in sysfs on this board (NVML: install nvidia-ml-py)")
        return GpuReading(
            name=base.rsplit("/", 1)[-1],
            source="sysfs" if base or self._load else "none",
            load=number(self._load, 0.1) if self._load else (no_load if base else none),
            clock=number(f"{base}/cur_freq", 1e-6) if base else none,
            clock_low=number(f"{base}/min_freq", 1e-6) if base else none,
            clock_high=number(f"{base}/max_freq", 1e-6) if base else none,
            governor=self._tree.text_or(f"{base}/governor") if base else "",
            memory_used=missing("shared with the CPU" if base or self._load else none.reason),
            power=missing("see the power status" if base or self._load else none.reason),
            temperature=missing("see the temperature status" if base else none.reason),
        )


def _merge(sysfs: GpuReading, nvml: GpuReading) -> GpuReading:
    """NVML's numbers where sysfs has none."""
    fields = ("load", "clock", "clock_low", "clock_high", "memory_used", "power", "temperature")
    chosen: dict[str, Any] = {}
    for field in fields:
        own: Reading = getattr(sysfs, field)
        other: Reading = getattr(nvml, field)
        chosen[field] = own if own.value is not None or other.value is None else other
    source = f"{sysfs.source} + NVML" if sysfs.source != "none" else "NVML"
    name = nvml.name or sysfs.name
    return replace(sysfs, name=name, source=source, slowdown=nvml.slowdown, **chosen)
