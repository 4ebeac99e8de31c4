"""Clocks of a Jetson's fixed-function engines: video, image, deep learning, vision.

The kernel shows them in debugfs (`/sys/kernel/debug/clk/<name>`), which only root can read. The
names are those of jtop (jetson-stats 7.2, `core/engine.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from policy_runner.telemetry.host_files import HostFiles, Reading
from policy_runner.telemetry.verdict import OK, Verdict

_CLOCKS = "sys/kernel/debug/clk"
_NAMES = ("ape", "cvnas", "dla", "msenc", "nvdec", "nvenc", "nvjpg", "ofa", "pva", "se", "vic")
# `se` and `ape` are beginnings of other clocks' names; the others have numbers and parts
# (dla0_core, pva0_cpu_axi). Names with a dot are parents of the engines' clocks.
_ENGINE = re.compile(r"(ape|se|(cvnas|dla|msenc|nvdec|nvenc|nvjpg|ofa|pva|vic)\d*(_[a-z0-9_]+)?)")
_LOOK_AGAIN = 30  # reads


@dataclass(frozen=True)
class EnginesReading:
    """Clock of each engine that the board has [MHz]; 0 for an engine that is off."""

    clocks: Mapping[str, Reading] = field(default_factory=dict)
    reason: str = ""  # why there are none


class EnginesReader:
    """Finds the engines and reads their clocks."""

    def __init__(self, files: HostFiles) -> None:
        self._files = files
        self._names: list[str] = []
        self._reason = ""
        self._reads_left = 0

    def read(self, now_ns: int) -> EnginesReading:
        """Take a sample."""
        if self._reads_left <= 0:
            self._find()
            self._reads_left = _LOOK_AGAIN
        self._reads_left -= 1
        return EnginesReading({name: self._clock(name) for name in self._names}, self._reason)

    def _clock(self, name: str) -> Reading:
        rate = self._files.number(f"{_CLOCKS}/{name}/clk_rate", 1e-6)
        enabled = self._files.number(f"{_CLOCKS}/{name}/clk_enable_count")
        # A clock that is not enabled keeps the rate that it would have.
        return Reading(0.0) if enabled.value == 0 and rate.value is not None else rate

    def _find(self) -> None:
        files = self._files
        found = [path for name in _NAMES for path in files.glob(f"{_CLOCKS}/{name}*/clk_rate")]
        names = {path.split("/")[-2] for path in found}
        self._names = sorted(name for name in names if _ENGINE.fullmatch(name))
        readable = bool(files.glob(f"{_CLOCKS}/*"))
        self._reason = "no such engines" if readable else "needs root, and a Jetson"


def judge_engines(reading: EnginesReading) -> Verdict:
    """Return the verdict for a sample: always OK, with the engines that run."""
    values: dict[str, object] = {
        f"{name} [MHz]": clock.shown for name, clock in reading.clocks.items()
    }
    if not reading.clocks:
        return Verdict(OK, f"engines n/a: {reading.reason}", values)
    running = [
        f"{name} at {clock.value:.0f} MHz" for name, clock in reading.clocks.items() if clock.value
    ]
    return Verdict(OK, ", ".join(running) or "all off", values)
