"""What a controller downstream does when the runner's heartbeat falls silent: it stops by itself.

A process that is killed outright sends no last command, and something between it and the motors
may repeat the one before for ever. `~/status`, which comes at 20 Hz whatever the runner decides,
falls silent with the process.
"""

from __future__ import annotations

import time


class Heartbeat:
    """Watches for silence, from the first heartbeat on; without one there is nothing to watch."""

    def __init__(self, timeout_s: float) -> None:
        """`timeout_s`: silence for longer counts as lost; 0: never."""
        self._timeout_ns = round(timeout_s * 1e9)
        self._heard_ns: int | None = None
        self.lost = 0
        self.silent = False

    def silent_now(self, heard: bool) -> bool:
        """Ask once a tick, with whether a heartbeat came since the last one."""
        now_ns = time.monotonic_ns()
        if heard:
            self._heard_ns, self.silent = now_ns, False
        elif self._heard_ns is not None and self._timeout_ns and not self.silent:
            self.silent = now_ns - self._heard_ns > self._timeout_ns
            self.lost += self.silent
        return self.silent
