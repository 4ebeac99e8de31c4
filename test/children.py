"""Child processes of a test: each has its own session, always ends, and is quoted on failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import leftovers

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[1]
QUOTED_CHARACTERS = 4000
# Children inherit these, such as the lock of the session's ROS domain: while a child lives that a
# killed session has left, no other session takes its domain.
KEPT_OPEN: list[int] = []


def wait_until(
    predicate: Callable[[], T], timeout_s: float = 10.0, what: str = "", every_s: float = 0.02
) -> T:
    """Call `predicate` until its result is true and return it; AssertionError after the timeout.

    Discovery between two processes takes up to 2.75 s, so use the default of 10 s for it.
    """
    end = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            name = what or getattr(predicate, "__name__", "the condition")
            raise AssertionError(f"{name}: not within {timeout_s:g} s (last: {value!r})")
        time.sleep(every_s)


class Child:
    """One child process. Its output goes to files, because a full pipe would block it."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], folder: Path, number: int):
        self.argv = [str(word) for word in argv]
        self._out, self._err = (folder / f"child{number}.{end}" for end in ("stdout", "stderr"))
        # `exec` resets every handler except "ignore". So with a handler, the child gets the default
        # SIGINT, even if the caller runs in the background and ignores it.
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGHUP, signal.SIGQUIT):  # as under nohup
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, lambda _number, _frame: None)
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=ROOT,
                env=dict(env),
                start_new_session=True,
                pass_fds=KEPT_OPEN,
            )
        self.pid = self._popen.pid

    @property
    def stdout(self) -> str:
        """The child's standard output so far."""
        return self._out.read_text("utf-8", "replace")

    @property
    def stderr(self) -> str:
        """The child's standard error so far."""
        return self._err.read_text("utf-8", "replace")

    def poll(self) -> int | None:
        """Exit code, or None while it runs. Negative: minus the signal that ended it."""
        return self._popen.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the child itself, not to its group. Do nothing if it has ended."""
        if self.poll() is None:
            leftovers.note_segments(self.pid)
            self._popen.send_signal(number)

    def wait(self, timeout_s: float = 10.0) -> int:
        """Wait for its end and return the exit code; AssertionError with its stderr otherwise."""
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.argv} still runs after {timeout_s:g} s; stderr:\n{self.stderr}"
            ) from None

    def stop(self, patience_s: float = 5.0) -> int:
        """End it with SIGINT, then SIGTERM, then SIGKILL, `patience_s` apart; return exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self.send(number)
            try:
                return self._popen.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        return self.kill()

    def kill(self) -> int:
        """End it with SIGKILL, and remove the shared memory that it can no longer remove."""
        self.send(signal.SIGKILL)
        code = self._popen.wait(10.0)
        leftovers.remove_segments_of(self.pid)
        return code

    def quote(self) -> str:
        """Text with command, state and the end of both outputs, for a report."""
        state = "running" if self.poll() is None else f"exit code {self.poll()}"
        parts = [f"{' '.join(self.argv)} (pid {self.pid}, {state})"]
        for name, text in (("stdout", self.stdout), ("stderr", self.stderr)):
            if text:
                parts.append(f"-- {name}:\n{text[-QUOTED_CHARACTERS:]}")
        return "\n".join(parts)


class Nursery:
    """Starts the children of one test, and ends all of them at the end of the test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.children: list[Child] = []

    def __call__(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Child:
        """Start `argv` with our environment and `env`; a leading "python" is this interpreter."""
        words = [sys.executable, *argv[1:]] if argv[0] == "python" else list(argv)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        full = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(env or {})}
        child = Child(words, full, self._folder, len(self.children))
        self.children.append(child)
        return child

    def close(self) -> None:
        """End every child, the newest first; AssertionError if it had to kill one."""
        stubborn = []
        for child in reversed(self.children):
            if child.poll() is None and child.stop() == -signal.SIGKILL:
                stubborn.append(child.quote())
        assert not stubborn, "ended only by SIGKILL:\n" + "\n".join(stubborn)
