"""Runs a sidecar, kills it with SIGKILL every few seconds and restarts it, until SIGINT."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time

SIDECAR = [sys.executable, "-m", "policy_runner.ros.sidecar.main"]


def main() -> int:
    """Run until SIGINT; with `--every 0` the sidecar is not killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two kills")
    options = parser.parse_args()
    ended: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: ended.append(number))
    kills = 0
    while not ended:
        sidecar = subprocess.Popen(SIDECAR, stderr=subprocess.DEVNULL)
        begun = time.monotonic()
        while not ended and (not options.every or time.monotonic() - begun < options.every):
            time.sleep(0.05)
        sidecar.kill()  # like the out-of-memory killer: the sidecar cannot clean up
        sidecar.wait()
        kills += not ended
    print(f"sidecar: killed and restarted {kills} times", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
