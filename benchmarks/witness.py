"""Records when the host stopped a core: one witness per core, above all measured priorities.

The host of a virtual machine takes its cores away for milliseconds. No program inside can be on
time then, and the tails of all columns show the host. The witness sleeps to absolute deadlines at
FIFO 99, pinned to one core. If it wakes late, no other program could have run on that core. Ticks
in such a time are marked in the same way for every column. The mark depends only on the witness,
never on how late the tick was.

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
LATE_NS = 100_000  # a witness on an undisturbed core wakes 20 to 60 us after its deadline
# After a stop the delayed programs run first: the interrupted tick and the next one are late.
AFTER_NS = 2_000_000
PRIORITY = 99


def watch(core: int, out: Path) -> int:
    """Record every late wake-up until SIGINT, then write the file.

    Each row is [previous deadline, wake-up] [ns, monotonic].

    Args:
        core: the core's number.
        out: folder of the file.
    """
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
    """Return the times [n, 2] [ns] in which any core was stopped, from all witnesses' files."""
    found = [np.load(path) for path in sorted(folder.glob("core*.npy"))]
    return np.concatenate(found) if found else np.zeros((0, 2), dtype=np.int64)


def undisturbed(ticks_ns: np.ndarray, lost_ns: np.ndarray) -> np.ndarray:
    """Return for every period (tick k to k + 1) whether no core was stopped in or just before it.

    Args:
        ticks_ns: times of the ticks [ns], (n,).
        lost_ns: see `lost`.

    Returns:
        Booleans, (n - 1,).
    """
    begin, end = ticks_ns[:-1], ticks_ns[1:]
    good = np.ones(len(begin), dtype=bool)
    for start, stop in lost_ns:
        first = int(np.searchsorted(end, start))
        last = int(np.searchsorted(begin, stop + AFTER_NS))
        good[first:last] = False
    return good


def main() -> int:
    """Watch one core. Each core has its own process, so witnesses do not share a GIL."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--core", type=int, required=True)
    options = parser.parse_args()
    return watch(options.core, options.out)


if __name__ == "__main__":
    sys.exit(main())
