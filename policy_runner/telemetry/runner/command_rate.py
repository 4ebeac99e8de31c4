"""Rate and jitter of a topic from the source timestamps of its messages, over a short window."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from policy_runner.telemetry.host_files import Reading, missing

_WINDOW_NS = 2_000_000_000
_FEWEST = 5


@dataclass(frozen=True)
class CommandReading:
    """What leaves the runner, seen from another process.

    `rate` [Hz] and `jitter` (99th percentile of |period - median period|, us) over the last
    two seconds of messages, `age` [s] since the last take that found any.
    """

    publishers: int
    rate: Reading
    jitter: Reading
    age: Reading


class CommandWindow:
    """Keeps the source timestamps (wall ns) of the last messages; times of takes are monotonic."""

    def __init__(self) -> None:
        self._stamps: deque[int] = deque()
        self._taken_ns: int | None = None
        self._unstamped = False

    def add(self, stamps_ns: list[int], now_ns: int) -> None:
        """Note the messages of one drain; a stamp of 0 is a middleware that gives none."""
        if not stamps_ns:
            return
        self._taken_ns = now_ns
        self._unstamped = not all(stamps_ns)
        if self._unstamped:
            self._stamps.clear()
            return
        self._stamps.extend(stamps_ns)
        newest = self._stamps[-1]  # what came before a pause goes: its gap is no period
        while self._stamps[0] < newest - _WINDOW_NS:
            self._stamps.popleft()

    def reading(self, publishers: int, now_ns: int) -> CommandReading:
        """Figures at this moment."""
        if self._taken_ns is None:
            none = missing("no command seen")
            return CommandReading(publishers, none, none, none)
        age = Reading((now_ns - self._taken_ns) / 1e9)
        stamps = list(self._stamps)
        if self._unstamped or len(stamps) < _FEWEST or now_ns - self._taken_ns > _WINDOW_NS:
            words = "the middleware gives no source timestamps"
            none = missing(words if self._unstamped else "too few commands")
            return CommandReading(publishers, none, none, age)
        periods = sorted(b - a for a, b in pairwise(stamps))
        median = periods[len(periods) // 2]
        errors = sorted(abs(period - median) for period in periods)
        jitter = errors[min(len(errors) - 1, round(0.99 * len(errors)))]
        span = stamps[-1] - stamps[0]
        rate = Reading((len(stamps) - 1) * 1e9 / span) if span > 0 else missing("no time passed")
        return CommandReading(publishers, rate, Reading(jitter / 1e3), age)


def command_values(reading: CommandReading | None) -> dict[str, object]:
    """Keys of the joined status; None is a sidecar that was told not to measure."""
    if reading is None:
        none = missing("not measured")
        reading = CommandReading(0, none, none, none)
    return {
        "command publishers": reading.publishers,
        "command rate [Hz]": reading.rate.shown,
        "command jitter p99 [us]": reading.jitter.shown,
        "command age [s]": reading.age.shown,
    }
