"""When did the machine itself stand still? A witness on every core, above all that is measured.

A virtual machine loses its cores to its host for milliseconds; no program inside can be on time
then, and the tail of every column becomes the host's. The witness sleeps to absolute deadlines at
FIFO 99, pinned to one core: when it wakes late, nothing else could have run there either. Ticks
that fall into such a time are told apart, for every column in the same way, by what the witness
saw and never by how late the tick was.

    python benchmarks/witness.py --out FOLDER        (until SIGINT; one file per core)
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from policy_runner.ros.process.realtime import Granted, prepare_control_thread

PERIOD_NS = 500_000
LATE_NS = 100_000  # a witness on a core of its own wakes 20 to 60 us after its deadline
# What was displaced runs when the core comes back: the tick under way, and the next.
AFTER_NS = 2_000_000
PRIORITY = 99


def watch(core: int, out: Path) -> int:
    """Note [deadline, wake-up] [ns, monotonic] of every late wake-up, until SIGINT."""
    ended: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: ended.append(number))
    os.sched_setaffinity(0, [core])
    prepare_control_thread(PRIORITY, Granted())
    gc.freeze()
    late: list[tuple[int, int]] = []
    deadline = time.monotonic_ns()
    while not ended:
        deadline += PERIOD_NS
        ahead = deadline - time.monotonic_ns()
        if ahead > 0:
            time.sleep(ahead / 1e9)
        woke = time.monotonic_ns()
        if woke - deadline > LATE_NS:
            late.append((deadline - PERIOD_NS, woke))
            deadline = woke
    np.save(out / f"core{core}.npy", np.array(late, dtype=np.int64).reshape(-1, 2))
    return 0


def lost(folder: Path) -> np.ndarray:
    """The times [n, 2] [ns] in which some core stood still, from all witnesses' files."""
    found = [np.load(path) for path in sorted(folder.glob("core*.npy"))]
    return np.concatenate(found) if found else np.zeros((0, 2), dtype=np.int64)


def undisturbed(ticks_ns: np.ndarray, lost_ns: np.ndarray) -> np.ndarray:
    """For every period (tick k to k + 1): whether no core stood still in it or just before it."""
    begin, end = ticks_ns[:-1], ticks_ns[1:]
    good = np.ones(len(begin), dtype=bool)
    for start, stop in lost_ns:
        first = int(np.searchsorted(end, start))
        last = int(np.searchsorted(begin, stop + AFTER_NS))
        good[first:last] = False
    return good


def main() -> int:
    """One process per core, so that no interpreter lock joins them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--core", type=int, required=True)
    options = parser.parse_args()
    return watch(options.core, options.out)


if __name__ == "__main__":
    sys.exit(main())
