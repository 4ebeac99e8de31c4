"""End a process by signals, with any number of signals at any time.

The interpreter's C code writes a byte into a pipe for each signal. No Python code runs and no lock
is taken for that. With `threading.Event.set` in a handler, a second signal during the call hung
the process: two SIGINT 10 to 80 us apart left 3 of 50 processes alive.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

# Exit codes of the runner: docs/reference/commands.md lists them.
ENDED_WELL = 0
LOOP_FAILED = 1  # the control thread ended with an exception
START_REFUSED = 2  # wrong arguments or files; autostart: configure or activate refused
NOT_IN_TIME = 3  # a thread did not end; the last command was still sent
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
GONE_WITHIN_S = 1.9  # after the signal; then `force_end_after` ends the process


class EndRequest:
    """Whether this process should end. A signal or `set` requests it; it is never withdrawn.

    It has methods of `threading.Event`, but takes no lock.
    """

    def __init__(self) -> None:
        """Create the pipe; `end_on_signal` connects it to the signals."""
        self.at_once = False  # while True, a signal ends the process at once: nothing has begun
        self._reading, self.writing = os.pipe()
        os.set_blocking(self.writing, False)  # the pipe is never emptied, so it may become full

    def set(self) -> None:
        """Ask for the end, from any thread."""
        try:
            os.write(self.writing, b"\0")
        except BlockingIOError:
            return

    def is_set(self) -> bool:
        """Whether the end was requested."""
        return self.wait(0.0)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the end is requested; False after `timeout_s` (None: wait forever)."""
        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        return bool(poll.poll(None if timeout_s is None else timeout_s * 1e3))

    def heard(self, _number: int, _frame: object) -> None:
        """Handle a signal. The byte is already in the pipe, so only `at_once` needs code."""
        if self.at_once:
            os._exit(ENDED_WELL)


def end_on_signal(at_once: bool = False) -> EndRequest:
    """Let SIGINT, SIGTERM, SIGHUP and SIGQUIT request the end instead of interrupting the code.

    Call it first in the main thread. SIGHUP stays ignored if it was ignored before (`nohup`). The
    other signals work even if a shell or a parent process ignores or blocks them.

    Args:
        at_once: until `at_once` of the result is set to False, a signal ends the process with
            status 0, because there is nothing to stop during the imports.

    Returns:
        The request that the signals set.
    """
    ended = EndRequest()
    ended.at_once = at_once
    signal.set_wakeup_fd(ended.writing, warn_on_full_buffer=False)
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, ended.heard)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return ended


def hold_signals_until_heard() -> None:
    """Block the signals in a child process before `exec`; `end_on_signal` unblocks them.

    A signal before the child's first line of Python then causes an orderly end. Without this, it
    would kill the child.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


_LIBC = ctypes.CDLL(None)  # loaded here, because a child process must not load it before `exec`
_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Send SIGINT to this child process when its parent ends, whatever ends the parent.

    Call it before `exec`. Without it, SIGKILL of a supervisor would leave its nodes running.

    Args:
        parent: process id of the parent, read before the fork. The parent may have ended already.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGINT)


def force_end_after(seconds: float, code: int = NOT_IN_TIME) -> None:
    """Exit with `code` after this time, if the process still runs: freeing a library may hang."""
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()


def ignore_further_signals() -> None:
    """Ignore all signals. Call it last: the finalizing interpreter restores default handlers.

    The terminal sends SIGINT to the process group, and launch then sends a second SIGINT. The
    second one would kill a process that has already ended well.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)


NO_FILE = "--disable-external-lib-logs"


def log_folder(environment: Mapping[str, str]) -> Path | None:
    """Return the folder where rcl would put the log file; None if HOME is not set."""
    if environment.get("ROS_LOG_DIR"):
        return Path(environment["ROS_LOG_DIR"]).expanduser()
    if environment.get("ROS_HOME"):
        return Path(environment["ROS_HOME"]).expanduser() / "log"
    return Path(environment["HOME"]) / ".ros" / "log" if environment.get("HOME") else None


def with_usable_log(arguments: list[str]) -> list[str]:
    """Return the arguments for rclpy.init. If no log file is possible, disable it and say so."""
    folder = log_folder(os.environ)
    try:
        if folder is None:
            raise OSError("HOME is not set")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return arguments
    except OSError as error:
        sys.stderr.write(f"no log file, only stderr: {error}; set ROS_LOG_DIR to another folder\n")
        return [*arguments, "--ros-args", NO_FILE]
