"""Start the runner without something that it usually has.

    python fault_child.py WHAT[,WHAT...] [arguments of the runner]

no_rtprio: no CAP_SYS_NICE and no rtprio limit. read_only_home: $HOME, which this program creates,
is not writable. full_stderr, full_stdout: a full pipe without a reader.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE, _CAP_SYS_NICE = 1, 23


def drop(capability: int) -> None:
    """Drop this capability after the next exec; an ordinary user has none to drop."""
    ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def fill(descriptor: int) -> None:
    """Replace this file descriptor with a full pipe."""
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)  # the reading end stays open without a reader
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, bytes(4096))
    except BlockingIOError:
        os.set_blocking(writing, True)
    os.dup2(writing, descriptor)


def main() -> None:
    for what in sys.argv[1].split(","):
        if what == "no_rtprio":
            drop(_CAP_SYS_NICE)
            resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
        elif what == "read_only_home":
            drop(_CAP_DAC_OVERRIDE)
            os.makedirs(os.environ["HOME"])
            os.chmod(os.environ["HOME"], 0o555)
            for name in ("ROS_LOG_DIR", "ROS_HOME", "XDG_CACHE_HOME"):
                os.environ.pop(name, None)
        else:
            fill({"full_stdout": 1, "full_stderr": 2}[what])
    runner = "policy_runner.ros.runner.main"
    os.execv(sys.executable, [sys.executable, "-m", runner, *sys.argv[2:]])


if __name__ == "__main__":
    main()
