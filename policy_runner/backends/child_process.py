"""What a helper process does first: ordinary scheduling, an end with its parent, a clean stdout."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

NICE = 5  # the control thread and the middleware come first where no priority is granted
_PR_SET_PDEATHSIG = 1


def leave_realtime() -> None:
    """Switch to ordinary scheduling: a child inherits SCHED_FIFO, and would block the CPU.

    Raises:
        OSError: the system does not allow it.
    """
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.nice(NICE)


def end_with(parent: int) -> None:
    """Ask the kernel to kill this process when the thread that started it ends or crashes.

    Args:
        parent: process id of the parent; if it has ended already, this process exits.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before prctl
        sys.exit(1)


@contextmanager
def protocol_stdout() -> Iterator[TextIO]:
    """The real stdout, for the protocol only: what a library prints there goes to stderr."""
    with os.fdopen(os.dup(1), "w", buffering=1) as out:
        os.dup2(2, 1)
        yield out
