"""How a process hears that it should end: once, and never in the middle of ending."""

from __future__ import annotations

import signal
import threading

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
