"""A stderr that never blocks: a log reader that has stopped must not stop the robot.

rclpy holds the interpreter's lock while it writes its log. If stderr is a pipe without a reader
(a frozen terminal, Ctrl-S, a hung journal), this stopped the control thread after 0.93 s. So
descriptor 2 becomes a private pipe. The pipe drops text that does not fit, and a thread copies
its content to the real stderr.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading


class _DroppingWriter(io.RawIOBase):
    """`sys.stderr`'s writer to the pipe: drops the text instead of raising if the pipe is full."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    def write(self, data: object) -> int:
        assert isinstance(data, (bytes, bytearray, memoryview))
        with contextlib.suppress(BlockingIOError):
            os.write(2, data)
        return len(data)


class PrivateStderr:
    """Replaces descriptor 2 by the private pipe; `close` restores it."""

    def __init__(self) -> None:
        """Replace descriptor 2 and `sys.stderr`, and start the copying thread."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        self._outside = os.dup(2)
        self._reading = reading
        os.dup2(writing, 2)
        os.close(writing)
        self._stderr = sys.stderr
        sys.stderr = io.TextIOWrapper(_DroppingWriter(), errors="replace", write_through=True)
        self._thread = threading.Thread(target=self._copy, name="stderr", daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        # If the outside reader has stopped, `os.write` blocks, but only in this thread.
        with contextlib.suppress(OSError):
            while chunk := os.read(self._reading, 65536):
                view = memoryview(chunk)
                while view:
                    view = view[os.write(self._outside, view) :]

    def close(self, timeout_s: float = 0.2) -> None:
        """Restore descriptor 2, and wait up to `timeout_s` until the rest of the pipe is copied."""
        sys.stderr = self._stderr
        os.dup2(self._outside, 2)  # closes the pipe's last writing end, so the copy ends
        self._thread.join(timeout_s)
