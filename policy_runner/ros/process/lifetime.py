"""How a process hears that it should end, and ends: however many signals come, and whenever.

A signal writes a byte into a pipe, from the interpreter's C code. No Python code runs for it and
no lock is taken: `threading.Event.set` in a handler hung when a second signal came within it (two
SIGINT 10 to 80 us apart left 3 of 50 processes alive).
"""

from __future__ import annotations

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
NOT_IN_TIME = 3  # a thread did not end; the last command was sent all the same
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
GONE_WITHIN_S = 1.9  # after the signal; then `force_end_after` ends the process


class EndRequest:
    """Whether this process should end: asked for by a signal or by `set`, and never withdrawn.

    Has the methods of a `threading.Event`, of which it needs no lock.
    """

    def __init__(self) -> None:
        self.at_once = False  # while True a signal leaves the process at once: nothing has begun
        self._reading, self.writing = os.pipe()
        os.set_blocking(self.writing, False)  # it is never emptied: full, it says all there is

    def set(self) -> None:
        """Ask for the end, from any thread."""
        try:
            os.write(self.writing, b"\0")
        except BlockingIOError:
            return

    def is_set(self) -> bool:
        """Whether the end was asked for."""
        return self.wait(0.0)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the end is asked for, at most so long; whether it was."""
        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        return bool(poll.poll(None if timeout_s is None else timeout_s * 1e3))

    def heard(self, _number: int, _frame: object) -> None:
        """The handler: by now the byte is in the pipe, so there is nothing else to do."""
        if self.at_once:
            os._exit(ENDED_WELL)


def end_on_signal(at_once: bool = False) -> EndRequest:
    """What SIGINT, SIGTERM, SIGHUP and SIGQUIT set, instead of interrupting what runs.

    Call it first in the main thread. SIGHUP stays ignored where the caller has it so (`nohup`);
    the others are heard also where a shell or a parent process ignores or blocks them.

    Args:
        at_once: until `at_once` of the result is set to False, a signal ends the process with
            status 0: while it imports there is nothing to stop.
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
    """Block the signals, in a child process before `exec`: `end_on_signal` lets them through.

    What comes before the child's first line of Python then ends it in order, not by a signal.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def force_end_after(seconds: float, code: int = NOT_IN_TIME) -> None:
    """End the process then, whatever it still does: a library may hang while it is freed."""
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()


def ignore_further_signals() -> None:
    """Call last: the interpreter puts default handlers back while it finalizes.

    Launch sends SIGINT to a process whose group has just got one from the terminal; the second
    one would kill a process that has already ended well.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)


NO_FILE = "--disable-external-lib-logs"


def log_folder(environment: Mapping[str, str]) -> Path | None:
    """Where rcl would put the log file; None without a home."""
    if environment.get("ROS_LOG_DIR"):
        return Path(environment["ROS_LOG_DIR"]).expanduser()
    if environment.get("ROS_HOME"):
        return Path(environment["ROS_HOME"]).expanduser() / "log"
    return Path(environment["HOME"]) / ".ros" / "log" if environment.get("HOME") else None


def with_usable_log(arguments: list[str]) -> list[str]:
    """The arguments for rclpy.init; without a log file, and a sentence, where none can be made."""
    folder = log_folder(os.environ)
    try:
        if folder is None:
            raise OSError("HOME is not set")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return arguments
    except OSError as error:
        sys.stderr.write(f"no log file, only stderr: {error}; ROS_LOG_DIR names another folder\n")
        return [*arguments, "--ros-args", NO_FILE]


def prefer_udp() -> None:
    """UDP, unless the user chose; call before rclpy.init. Other middlewares ignore it."""
    os.environ.setdefault("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
