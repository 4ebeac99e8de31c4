"""Memory and swap from `/proc/meminfo`, the memory clock from the board."""

from __future__ import annotations

from dataclasses import dataclass, field

from policy_runner.telemetry.host.emc import EmcReading, read_emc
from policy_runner.telemetry.host_files import Reading, Tree, Unreadable, missing

_KB_TO_MB = 1024 / 1e6


@dataclass(frozen=True)
class MemoryReading:
    """MB (10^6 bytes). `available` is what programs may still take, caches included."""

    total: Reading
    available: Reading
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

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def read(self, now_ns: int) -> MemoryReading:
        """One sample."""
        try:
            lines = self._tree.text("proc/meminfo").splitlines()
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
            emc=read_emc(self._tree),
        )

    def _oom_kills(self) -> Reading:
        """Programs that the kernel ended for want of memory, since boot."""
        for line in self._tree.text_or("proc/vmstat").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.isdigit():
                return Reading(float(value))
        return missing("not in /proc/vmstat")
