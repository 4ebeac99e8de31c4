"""Rate and jitter of a topic over a short window, from the messages' source timestamps."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from policy_runner.telemetry.host_files import Reading, missing

_WINDOW_NS = 2_000_000_000
_FEWEST = 5


@dataclass(frozen=True)
class CommandReading:
    """The runner's commands, measured in another process."""

    publishers: int
    rate: Reading  # over the last two seconds of messages [Hz]
    jitter: Reading  # 99th percentile of |period - median period| in the same time [us]
    age: Reading  # time since messages were last received [s]


class CommandWindow:
    """Keeps the source timestamps of the last messages."""

    def __init__(self) -> None:
        self._stamps: deque[int] = deque()
        self._taken_ns: int | None = None
        self._unstamped = False

    def add(self, stamps_ns: list[int], now_ns: int) -> None:
        """Add messages that were received together.

        Args:
            stamps_ns: source timestamps [ns since 1970]; 0: the middleware gives none.
            now_ns: present time [ns, monotonic].
        """
        if not stamps_ns:
            return
        self._taken_ns = now_ns
        self._unstamped = not all(stamps_ns)
        if self._unstamped:
            self._stamps.clear()
            return
        self._stamps.extend(stamps_ns)
        newest = self._stamps[-1]  # older stamps are dropped, so a pause is not a period
        while self._stamps[0] < newest - _WINDOW_NS:
            self._stamps.popleft()

    def reading(self, publishers: int, now_ns: int) -> CommandReading:
        """Return the present figures.

        Args:
            publishers: number of publishers of the topic.
            now_ns: present time [ns, monotonic].
        """
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
    """Return the keys for the joined status; None: the sidecar does not measure commands."""
    if reading is None:
        none = missing("not measured")
        reading = CommandReading(0, none, none, none)
    return {
        "command publishers": reading.publishers,
        "command rate [Hz]": reading.rate.shown,
        "command jitter p99 [us]": reading.jitter.shown,
        "command age [s]": reading.age.shown,
    }
