"""One thread reads all groups periodically; other threads get the cached samples.

A read of sysfs can hang in the kernel (a sensor bus that does not answer, a devfreq lock, a
network file system). Then that group's samples become stale, and a new thread reads the other
groups. The process can still end, because the threads are daemons and hold no locks.

One thread instead of one for each of nine groups: a switch between threads costs more than most
reads, and each thread needs a stack.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

Read = Callable[[int], object]


@dataclass(frozen=True)
class Sample(Generic[T]):
    """The newest reading of a group."""

    value: T | None  # None until the first read has ended
    taken_ns: int
    stale: str  # '' while the sample is fresh, else a sentence with the reason


class _Group:
    def __init__(self, name: str, read: Read) -> None:
        self.name = name
        self.read = read
        self.reader = 0  # number of the thread that reads it, or has read it last
        self.started_ns: int | None = None  # start of the running read
        self.value: object | None = None
        self.taken_ns = 0
        self.error = ""


class Sampler:
    """Reads groups periodically, from `start` to `stop`; `sample` never blocks."""

    def __init__(
        self,
        reads: Mapping[str, Read],
        period_ns: int = 1_000_000_000,
        deadline_ns: int = 1_000_000_000,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Store the arguments.

        Args:
            reads: the function that reads each group; it gets the present time [ns].
            period_ns: from read to read.
            deadline_ns: a longer read makes the sample stale.
            clock: present time [ns].
        """
        self._groups = {name: _Group(name, read) for name, read in reads.items()}
        self._period_ns = period_ns
        self._deadline_ns = deadline_ns
        self._clock = clock
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._reader = 0  # number of the present thread; the others end after their read
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to read all groups."""
        with self._lock:
            self._start_reader()

    def _start_reader(self) -> None:
        self._reader += 1
        thread = threading.Thread(
            target=self._loop, args=(self._reader,), name="read host", daemon=True
        )
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()

    def stop(self, timeout_s: float = 0.5) -> list[str]:
        """End the threads; returns the names of groups whose read hangs (their threads stay)."""
        self._stop.set()
        end = time.monotonic() + timeout_s
        for thread in list(self._threads):
            thread.join(max(0.0, end - time.monotonic()))
        with self._lock:
            return [name for name, group in self._groups.items() if group.started_ns is not None]

    def sample(self, name: str) -> Sample[object]:
        """Return the newest sample of a group, and whether it is stale now.

        A hanging read is found here: then a new thread takes over the other groups.
        """
        group = self._groups[name]
        now = self._clock()
        with self._lock:
            self._replace_hanging_reader(now)
            started, value = group.started_ns, group.value
            taken, error = group.taken_ns, group.error
        stale = error
        if started is not None and now - started > self._deadline_ns:
            stale = f"reading {name} hangs since {(now - started) / 1e9:.1f} s"
        elif value is None and not error:
            stale = "no reading yet"
        return Sample(value, taken, stale)

    def _replace_hanging_reader(self, now_ns: int) -> None:
        for group in self._groups.values():
            started = group.started_ns
            hangs = started is not None and now_ns - started > self._deadline_ns
            if hangs and group.reader == self._reader and not self._stop.is_set():
                self._start_reader()

    def _loop(self, reader: int) -> None:
        due = self._clock()
        while True:
            for group in self._groups.values():
                if self._stop.is_set() or reader != self._reader:
                    return
                self._read_once(group, reader)
            # Reads that were missed while one hung are not made up for.
            now = self._clock()
            due = max(due + self._period_ns, now)
            self._stop.wait((due - now) / 1e9)

    def _read_once(self, group: _Group, reader: int) -> None:
        started = self._clock()
        with self._lock:
            if group.started_ns is not None or reader != self._reader:
                return  # an earlier thread still hangs in it, or this thread was replaced
            group.started_ns, group.reader = started, reader
        value, error = None, ""
        try:
            value = group.read(started)
        except Exception as problem:  # noqa: BLE001 - an unusual board must not end the thread
            error = f"reading {group.name} failed: {type(problem).__name__}: {problem}"
        with self._lock:
            group.started_ns = None
            group.error = error
            if not error:
                group.value = value
                group.taken_ns = self._clock()
