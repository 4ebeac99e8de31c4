"""How a process hears that it should end: once, and never in the middle of ending."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

# Exit codes of the runner: the README lists them.
ENDED_WELL = 0
LOOP_FAILED = 1  # the control thread ended with an exception
START_REFUSED = 2  # autostart: configure or activate refused, and nobody mended it
NOT_IN_TIME = 3  # a thread did not end; the last command was sent all the same
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_on_signal() -> threading.Event:
    """An event that SIGINT and SIGTERM set, instead of interrupting whatever runs."""
    ended = threading.Event()
    for number in _SIGNALS:
        signal.signal(number, lambda _number, _frame: ended.set())
    return ended


def ignore_further_signals() -> None:
    """Call last: the interpreter puts default handlers back while it finalizes.

    Launch sends SIGINT to a process whose group has just got one from the terminal; the second
    one would kill a process that has already ended well.
    """
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


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
