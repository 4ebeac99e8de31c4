"""Joins the runner's statuses with the host's verdicts.

The result is one verdict, whose message is a sentence for the operator. This module uses no ROS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from policy_runner.telemetry.runner.command_rate import CommandReading, command_values
from policy_runner.telemetry.runner.runner_statuses import Part, Runner, RunnerStatuses
from policy_runner.telemetry.verdict import ERROR, OK, STALE, WARN, Verdict

# A loop below this share of its rate counts as late, even without a missed deadline.
_LATE_SHARE = 0.98
# Number of messages after a start until the rate covers a whole interval between messages.
_STEADY = 2
# Missed deadlines stay in the sentence for this time, so that the operator can read them.
_LATE_HOLD_NS = 3_000_000_000
# Groups of the host that can make a loop late.
_CAUSES = ("throttling", "cpu", "memory", "temperature", "gpu", "power")
# Keys of the joined status: (key, part of the runner, key in that part).
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


def join(
    statuses: RunnerStatuses,
    host: Mapping[str, Verdict],
    now_ns: int,
    silence_ns: int,
    command: CommandReading | None = None,
    command_silence_ns: int = 1_000_000_000,
) -> Verdict:
    """Return the verdict on the worst runner, with the host's possible causes.

    Args:
        statuses: of all runners.
        host: the host's verdicts by group name.
        now_ns: present time [ns, monotonic].
        silence_ns: a runner without a status for this time counts as hung or gone [ns].
        command: the measured command topic; None: not measured.
        command_silence_ns: commands count as stopped after this time [ns].
    """
    if statuses.runners:
        verdicts = [_one(runner, host, now_ns, silence_ns) for runner in statuses.runners.values()]
        worst = max(verdicts, key=lambda verdict: verdict.level)
    else:
        values = _values(Runner("n/a: never seen"), host, None)
        worst = Verdict(STALE, f"no {statuses.prefix} seen on /diagnostics yet", values)
    worst = replace(worst, values={**worst.values, **command_values(command)})
    stopped = _commands_stopped(statuses, command, command_silence_ns)
    if stopped and worst.level < ERROR:
        return replace(worst, level=ERROR, message=stopped)
    return worst


def _commands_stopped(
    statuses: RunnerStatuses, command: CommandReading | None, silence_ns: int
) -> str:
    """Return a sentence if commands stopped although all runners report RUN; else ''."""
    age = None if command is None else command.age.value
    if age is None or age * 1e9 <= silence_ns or not statuses.runners:
        return ""
    for runner in statuses.runners.values():
        values = runner.part("safety").values
        if values.get("decision") != "RUN" or values.get("dry run") == "true":
            return ""
    return f"no command for {age:.0f} s although the runner says RUN"


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
    """Return how the loop is late; '' if it is not."""
    rate = runner.part("loop").number("rate [Hz]")
    target = runner.part("loop").number("target rate [Hz]")
    words = []
    steady = runner.steady >= _STEADY
    if steady and rate is not None and target is not None and rate < _LATE_SHARE * target:
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
    """Return the host's present problems as possible causes, the worst first."""
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
