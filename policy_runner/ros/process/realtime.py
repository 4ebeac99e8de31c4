"""Requests real-time scheduling, cores and locked memory, and keeps what was granted.

The whole process gets a real-time priority, below that of the control thread. With only the
control thread raised, the executor and the middleware's receive threads starve on a busy machine,
and the loop is punctual with stale inputs.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from dataclasses import dataclass, field

REMEDY = (
    "allow it: a line `USER - rtprio 98` in /etc/security/limits.conf for shells, "
    "`LimitRTPRIO=98` for systemd, `--cap-add SYS_NICE --ulimit rtprio=98` for Docker"
)
REMEDY_MEMLOCK = (
    "allow it: `USER - memlock unlimited` in /etc/security/limits.conf for shells, "
    "`LimitMEMLOCK=infinity` for systemd, `--ulimit memlock=-1` for Docker"
)
_PR_SET_TIMERSLACK = 29
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


@dataclass
class Granted:
    """The outcome of every request, in words. Each is written once; diagnostics reads them."""

    priority: str = "not asked for"
    cpu_affinity: str = "not asked for"
    lock_memory: str = "not asked for"
    refusals: list[str] = field(default_factory=list)


def prepare_process(priority: int, affinity: list[int], lock_memory: bool) -> Granted:
    """Request scheduling, cores and memory before rclpy.init, so that its threads inherit them.

    Args:
        priority: SCHED_FIFO priority of the control thread. The process gets half of it, rounded
            down; with 0 or 1 it gets none.
        affinity: allowed cores; empty: all.
        lock_memory: lock the used memory, so that it is never paged out.
    """
    granted = Granted()
    # Longest wait of the control thread for the interpreter. With 100 us the tail of its wake-up
    # times was a third longer, and a busy executor gained nothing.
    sys.setswitchinterval(2e-5)
    if affinity:
        try:
            os.sched_setaffinity(0, affinity)
            granted.cpu_affinity = ",".join(str(cpu) for cpu in affinity)
        except (OSError, ValueError) as error:
            granted.cpu_affinity = "refused"
            granted.refusals.append(f"realtime.cpu_affinity {affinity}: {error}")
    if priority > 1:
        # Half the priority: below the control thread, above ordinary processes.
        _set_fifo(priority // 2, granted)
    if lock_memory:
        libc = ctypes.CDLL(None, use_errno=True)
        # ONFAULT: lock used pages only, not every mapped page (358 MB resident without it).
        if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0:
            granted.lock_memory = "granted"
        else:
            granted.lock_memory = "refused"
            reason = os.strerror(ctypes.get_errno())
            granted.refusals.append(f"realtime.lock_memory: {reason}; {REMEDY_MEMLOCK}")
    return granted


def prepare_control_thread(priority: int, granted: Granted) -> None:
    """Raise the calling thread to `priority` and make its sleeps exact; 0 keeps its priority."""
    # Linux adds the default timer slack of 50 us to every sleep of an ordinary thread.
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)
    if priority > 0:
        _set_fifo(priority, granted)


def prepare_working_thread() -> None:
    """Lower the calling thread below all other threads of the process, for background work.

    In a real-time process it stays real-time, with priority 1. Otherwise another program could
    take its core while it holds the interpreter, and the control thread would wait for it.
    """
    if os.sched_getscheduler(0) == os.SCHED_FIFO:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def fifo_refusal() -> str:
    """Return why SCHED_FIFO is refused to this process; empty: it is granted.

    Tries it in a thread of its own, which ends at once, so the process stays as it is. The limits
    alone do not say it: a kernel with CONFIG_RT_GROUP_SCHED refuses even root in some groups.
    """
    reasons: list[str] = []

    def attempt() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        except OSError as error:
            reasons.append(error.strerror or str(error))

    thread = threading.Thread(target=attempt, name="try FIFO")
    thread.start()
    thread.join()
    return "; ".join(reasons)


def _set_fifo(priority: int, granted: Granted) -> None:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        granted.priority = f"FIFO {priority}"
    except OSError as error:
        granted.priority = "refused"
        if threading.current_thread() is threading.main_thread() or not granted.refusals:
            granted.refusals.append(f"realtime.priority: {error.strerror}; {REMEDY}")
