"""What a child process of a node does first: its end, its scheduling, its stdout.

A child inherits SCHED_FIFO from a real-time node. There it would take the cores from the control
thread. It must not outlive the node, either, not even one that was killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_PR_SET_PDEATHSIG = 1
_NICE = 5  # the control thread and the middleware come first where no priority is granted


def end_with(parent: int) -> None:
    """Ask the kernel to kill this process when the thread that started it ends or crashes.

    Args:
        parent: process that started this one. If it has already ended, this process ends now.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before prctl
        sys.exit(1)


def leave_realtime(name: str) -> None:
    """Switch to ordinary scheduling, with less priority than the parent.

    Args:
        name: of this process, for the line on stderr if the system refuses.
    """
    try:
        if os.sched_getscheduler(0) != os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.nice(_NICE)
    except OSError as error:
        sys.stderr.write(f"{name}: ordinary scheduling: {error.strerror}\n")


@contextmanager
def protocol_stdout() -> Iterator[TextIO]:
    """The real stdout, for the protocol only: what a library prints there goes to stderr."""
    with os.fdopen(os.dup(1), "w", buffering=1) as out:
        os.dup2(2, 1)
        yield out
