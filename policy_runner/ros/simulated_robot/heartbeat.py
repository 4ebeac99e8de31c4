"""Detects a silent runner, so that a controller downstream can stop by itself.

A killed process sends no last command, and a controller may then repeat the previous command
without end. `~/status` is published at 20 Hz no matter what the runner decides. It falls silent
when the process ends.
"""

from __future__ import annotations

import time


class Heartbeat:
    """Watches for silence, starting with the first heartbeat."""

    def __init__(self, timeout_s: float) -> None:
        """Watch with this timeout.

        Args:
            timeout_s: the runner counts as lost if it is silent for longer [s]; 0: never.
        """
        self._timeout_ns = round(timeout_s * 1e9)
        self._heard_ns: int | None = None
        self.lost = 0
        self.silent = False

    def silent_now(self, heard: bool) -> bool:
        """Return whether the runner is silent; call once in each tick.

        Args:
            heard: whether a heartbeat has arrived since the last call.
        """
        now_ns = time.monotonic_ns()
        if heard:
            self._heard_ns, self.silent = now_ns, False
        elif self._heard_ns is not None and self._timeout_ns and not self.silent:
            self.silent = now_ns - self._heard_ns > self._timeout_ns
            self.lost += self.silent
        return self.silent
