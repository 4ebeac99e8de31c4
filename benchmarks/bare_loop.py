"""A Python loop that only sleeps to absolute deadlines: the best timing of this machine."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from pathlib import Path

from policy_runner.ros.bench.recorder import Recorder
from policy_runner.ros.process.realtime import Granted, prepare_control_thread


def main() -> int:
    """Run for the given time and write an .npz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=Path, help="ignored: every column takes the same arguments")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--priority", type=int, default=0)
    options = parser.parse_args()
    granted = Granted()
    prepare_control_thread(options.priority, granted)
    gc.freeze()
    period_ns = round(1e9 / options.rate)
    recorder = Recorder(options.seconds, options.rate)
    deadline = time.monotonic_ns()
    while not recorder.done:
        deadline += period_ns
        late = time.monotonic_ns() - deadline
        if late > 0:
            deadline += late // period_ns * period_ns
        ahead = deadline - time.monotonic_ns()
        if ahead > 0:
            time.sleep(ahead / 1e9)
        recorder.tick(time.monotonic_ns(), 0)
    recorder.write(options.out, priority=granted.priority)
    return 0


if __name__ == "__main__":
    sys.exit(main())
