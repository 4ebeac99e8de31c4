"""Records a benchmarked process: times of its ticks, ages of its inputs, CPU time and memory."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.core.inputs.slot import InputSlot


def resident_kib() -> int:
    """Resident memory of this process [KiB]."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * (os.sysconf("SC_PAGE_SIZE") // 1024)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def oldest_age_ns(slots: Iterable[InputSlot], now_ns: int) -> int:
    """Return the age of the oldest input [ns].

    It counts from the header's stamp, which `publisher` sets on the monotonic clock. A message
    without a header has only its arrival, which includes the wait in the middleware.

    Args:
        slots: of the inputs.
        now_ns: monotonic clock.
    """
    return max([now_ns - (one.stamp_ns if one.stamped else one.oldest_ns) for one in slots])


class Recorder:
    """Preallocated arrays of tick times and input ages [ns], after a settling time.

    The benchmarked loop calls `tick`, which only stores two numbers.
    """

    def __init__(self, seconds: float, rate_hz: float, settle_s: float = 2.0) -> None:
        """Allocate the arrays; the settling time begins now.

        Args:
            seconds: how long to record.
            rate_hz: expected rate of the ticks; the arrays have room for 20 % more.
            settle_s: ticks in this time at the start are not recorded.
        """
        size = int(seconds * rate_hz * 1.2) + 100
        self._ticks = np.zeros(size, dtype=np.int64)
        self._ages = np.zeros(size, dtype=np.int64)
        # Write every page now, or the pages would look like a memory leak during the benchmark.
        self._ticks.fill(0)
        self._ages.fill(0)
        self._count = 0
        self._size = size
        now = time.monotonic_ns()
        self._begin_ns = now + int(settle_s * 1e9)
        self._end_ns = self._begin_ns + int(seconds * 1e9)
        self._begun: tuple[float, int, int] | None = None
        self._ended: tuple[float, int, int] | None = None

    def tick(self, now_ns: int, age_ns: int) -> None:
        """Record one tick: its time on the monotonic clock, and the age of the input it used."""
        if now_ns < self._begin_ns or self._ended is not None:
            return
        if self._begun is None:
            self._begun = (_cpu_s(), time.monotonic_ns(), resident_kib())
        if now_ns >= self._end_ns or self._count == self._size:
            self._ended = (_cpu_s(), time.monotonic_ns(), resident_kib())
            return
        self._ticks[self._count] = now_ns
        self._ages[self._count] = age_ns
        self._count += 1

    @property
    def done(self) -> bool:
        """Whether the recording time is over."""
        return self._ended is not None

    def write(self, path: Path, **facts: Any) -> None:
        """Save ticks, ages [ns] and facts as .npz.

        Args:
            path: the file.
            facts: more values for the JSON text `facts`, next to CPU share and memory.
        """
        begun = self._begun or (0.0, 0, 0)
        ended = self._ended or (_cpu_s(), time.monotonic_ns(), resident_kib())
        wall_s = max(1e-9, (ended[1] - begun[1]) / 1e9)
        facts = {
            "cpu_share": (ended[0] - begun[0]) / wall_s,
            "resident_mib": ended[2] / 1024,
            "resident_growth_kib": ended[2] - begun[2],
            **facts,
        }
        np.savez(
            path,
            ticks_ns=self._ticks[: self._count],
            ages_ns=self._ages[: self._count],
            facts=np.array(json.dumps(facts)),
        )
