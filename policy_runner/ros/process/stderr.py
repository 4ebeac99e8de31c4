"""A stderr that never blocks: a reader of the log that stopped must not stop the robot.

rclpy writes its log with the interpreter's lock held. With stderr a pipe that nobody reads
(a frozen terminal, Ctrl-S, a hung journal) that stopped the control thread after 0.93 s. So
descriptor 2 becomes a private pipe that drops what does not fit, and a thread copies it on.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading


class _DroppingWriter(io.RawIOBase):
    """Python's own writes to the pipe: a full pipe drops them instead of raising."""

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
    """Puts the pipe in place of descriptor 2; `close` puts things back."""

    def __init__(self) -> None:
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
        # Blocks in write when the reader outside stopped: then only this thread waits.
        with contextlib.suppress(OSError):
            while chunk := os.read(self._reading, 65536):
                view = memoryview(chunk)
                while view:
                    view = view[os.write(self._outside, view) :]

    def close(self, timeout_s: float = 0.2) -> None:
        """Give descriptor 2 back; what is still in the pipe goes out if somebody reads it."""
        sys.stderr = self._stderr
        os.dup2(self._outside, 2)  # closes the pipe's last writing end, so the copy ends
        self._thread.join(timeout_s)
