"""The joined view: what the runner says of itself beside what the host is going through.

Fed with the runner's statuses as they arrive and with the host's verdicts; gives one verdict
whose message is a sentence for the operator. No ROS in here: a status is its name, level,
message and a mapping of texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from policy_runner.telemetry.slowdown import SlowdownWatch
from policy_runner.telemetry.verdict import ERROR, OK, STALE, WARN, Verdict

_STATUS_NAME = re.compile(r"(?P<node>[^:]*): (?P<part>loop|inputs|inference|safety|model)")
# A loop below this share of its rate is late, even if no single deadline was missed.
_LATE_SHARE = 0.98
# A miss stays in the sentence this long, so that it can be read.
_LATE_HOLD_NS = 3_000_000_000

# Groups of the host that can make a loop late.
_CAUSES = ("throttling", "cpu", "memory", "temperature", "gpu", "power")
# Keys of the joined status: (key, part of the runner, key there).
_FROM_RUNNER = (
    ("rate [Hz]", "loop", "rate [Hz]"),
    ("target rate [Hz]", "loop", "target rate [Hz]"),
    ("missed deadlines", "loop", "missed deadlines"),
    ("period error p99 [us]", "loop", "period error p99 [us]"),
    ("step p99 [us]", "loop", "step p99 [us]"),
    ("provider", "inference", "provider"),
    ("inference p99 [us]", "inference", "inference p99 [us]"),
    ("input age p99 [ms]", "inputs", "input age p99 [ms]"),
    ("decision", "safety", "decision"),
    ("reason", "safety", "reason"),
)


@dataclass(frozen=True)
class Part:
    """One status of the runner as it came."""

    level: int
    message: str
    values: Mapping[str, str]

    def number(self, key: str) -> float | None:
        """Value as a number, or None."""
        try:
            return float(self.values.get(key, ""))
        except ValueError:
            return None


@dataclass
class Runner:
    """What one runner said last and when; times are the caller's monotonic ns."""

    node: str
    heard_ns: int = 0
    parts: dict[str, Part] = field(default_factory=dict)
    ticked_ns: int = 0  # when `ticks` last moved
    missed_ns: int | None = None  # when `missed deadlines` last moved
    missed: int = 0  # by how much
    watch: SlowdownWatch = field(default_factory=SlowdownWatch)

    def part(self, name: str) -> Part:
        """The part, or an empty one."""
        return self.parts.get(name, Part(OK, "", {}))


class RunnerBook:
    """Collects the statuses of every node whose name begins with `prefix`, in any namespace."""

    def __init__(self, prefix: str = "policy_runner") -> None:
        self.prefix = prefix
        self.runners: dict[str, Runner] = {}

    def take(
        self,
        name: str,
        level: int,
        message: str,
        values: Mapping[str, str],
        now_ns: int,
    ) -> bool:
        """Note one status; False when it is not a runner's."""
        found = _STATUS_NAME.fullmatch(name)
        if found is None:
            return False
        node = found["node"]
        if not node.rsplit("/", 1)[-1].strip().startswith(self.prefix):
            return False
        runner = self.runners.setdefault(node, Runner(node, ticked_ns=now_ns))
        part = Part(level, message, dict(values))
        if found["part"] == "loop":
            _note_progress(runner, part, now_ns)
        runner.parts[found["part"]] = part
        runner.heard_ns = now_ns
        return True


def _note_progress(runner: Runner, part: Part, now_ns: int) -> None:
    last = runner.part("loop")
    if part.number("ticks") != last.number("ticks"):
        runner.ticked_ns = now_ns
    before, after = last.number("missed deadlines"), part.number("missed deadlines")
    if before is not None and after is not None and after > before:
        runner.missed_ns, runner.missed = now_ns, int(after - before)


def join(book: RunnerBook, host: Mapping[str, Verdict], now_ns: int, silence_ns: int) -> Verdict:
    """The verdict on the worst runner heard of, with the host's part in it.

    `host` holds the host's verdicts by group name; `silence_ns` after which a runner that
    was heard before counts as hung or gone.
    """
    if not book.runners:
        values = _values(Runner("n/a: never seen"), host, None)
        return Verdict(STALE, f"no {book.prefix} seen on /diagnostics yet", values)
    verdicts = [_one(runner, host, now_ns, silence_ns) for runner in book.runners.values()]
    return max(verdicts, key=lambda verdict: verdict.level)


def _one(runner: Runner, host: Mapping[str, Verdict], now_ns: int, silence_ns: int) -> Verdict:
    silent = now_ns - runner.heard_ns
    values = _values(runner, host, silent / 1e9)
    if silent > silence_ns:
        message = f"no status from {runner.node} for {silent / 1e9:.0f} s"
        return Verdict(ERROR, message, values)
    loop, safety = runner.part("loop"), runner.part("safety")
    decision = safety.values.get("decision", "")
    stopped = now_ns - runner.ticked_ns
    if decision == "RUN" and loop.number("ticks") is not None and stopped > silence_ns:
        return Verdict(ERROR, f"control loop made no tick for {stopped / 1e9:.0f} s", values)
    level = max((part.level for part in runner.parts.values()), default=OK)
    late = _late(runner, now_ns)
    sentence = f"loop late: {late}{_cause(host)}" if late else _loop_words(loop)
    inference = runner.part("inference").number("inference p99 [us]")
    slower = runner.watch.sentence(
        runner.part("inference").values.get("provider", ""),
        runner.part("inference").number("inference p50 [us]"),
        host,
    )
    words = [sentence, slower]
    if inference is not None:
        words.append(f"inference p99 {inference / 1e3:.2f} ms")
    if decision:
        reason = safety.values.get("reason", "")
        words.append(f"{decision} ({reason})" if decision != "RUN" and reason else decision)
    for name in ("inputs", "inference", "model"):
        if runner.part(name).level > OK:
            words.append(f"{name}: {runner.part(name).message}")
    message = ", ".join(word for word in words if word)
    if not late:
        message += _host_words(host)
    return Verdict(max(level, WARN if late or slower else OK), message, values)


def _late(runner: Runner, now_ns: int) -> str:
    """What is late about the loop, or ''."""
    rate = runner.part("loop").number("rate [Hz]")
    target = runner.part("loop").number("target rate [Hz]")
    words = []
    running = runner.part("safety").values.get("decision", "RUN") in ("RUN", "HOLD")
    if running and rate is not None and target is not None and rate < _LATE_SHARE * target:
        words.append(f"{rate:.1f} of {target:g} Hz")
    if runner.missed_ns is not None and now_ns - runner.missed_ns < _LATE_HOLD_NS:
        words.append(f"{runner.missed} deadlines missed")
    return ", ".join(words)


def _loop_words(loop: Part) -> str:
    rate, target = loop.number("rate [Hz]"), loop.number("target rate [Hz]")
    if rate is None or target is None:
        return loop.message
    return f"loop at {rate:.1f} of {target:g} Hz"


def _cause(host: Mapping[str, Verdict]) -> str:
    """What the host is going through at the same time, worst first."""
    causes = [
        f"{name} {verdict.message}"
        for name, verdict in sorted(host.items(), key=lambda item: -item[1].level)
        if name in _CAUSES and WARN <= verdict.level <= ERROR
    ]
    if causes:
        return " while " + " and ".join(causes)
    return f", and nothing on this host explains it{_host_words(host)}"


def _host_words(host: Mapping[str, Verdict]) -> str:
    temperature = host.get("temperature")
    hottest = temperature.values.get("hottest [C]") if temperature else None
    if isinstance(hottest, float):
        return f"; hottest zone {hottest:.0f} °C"
    return ""


def _values(
    runner: Runner, host: Mapping[str, Verdict], silent_s: float | None
) -> dict[str, object]:
    values: dict[str, object] = {"runner": runner.node, "status age [s]": silent_s}
    for key, part, there in _FROM_RUNNER:
        values[key] = runner.part(part).values.get(there, "n/a")
    for key, group, there in (
        ("cpu load [%]", "cpu", "load [%]"),
        ("memory used [%]", "memory", "used [%]"),
        ("hottest [C]", "temperature", "hottest [C]"),
        ("gpu clock [MHz]", "gpu", "clock [MHz]"),
        ("active alerts", "throttling", "active alerts"),
        ("total [W]", "power", "total [W]"),
        ("power mode", "board", "power mode"),
    ):
        verdict = host.get(group)
        values[key] = verdict.values.get(there) if verdict else None
    return values
