"""Summarizes a recording: series of figures over time, and a short text on levels and extremes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from policy_runner.telemetry.recording.diagnostics_cdr import Status

LATENCY = "latency [us]"
# Panels of the picture: title, then (end of the status name, key) of each line.
PANELS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("power [W]", ((": power", "total [W]"), (": power", "budget [W]"))),
    (
        "temperature [°C]",
        ((": temperature", "hottest [C]"), (": temperature", "throttle trip [C]")),
    ),
    (
        "clock [MHz]",
        ((": cpu", "clock [MHz]"), (": gpu", "clock [MHz]"), (": memory", "EMC clock [MHz]")),
    ),
    ("load [%]", ((": cpu", "load [%]"), (": gpu", "load [%]"))),
    (
        LATENCY,
        (
            (": loop", "period error p99 [us]"),
            (": loop", "step p99 [us]"),
            (": inference", "inference p99 [us]"),
        ),
    ),
    (
        "lane [ms]",
        (
            (": inference", "latency p99 [ms]"),
            (": inference", "queue age [ms]"),
            (": inference", "queue left [ms]"),
        ),
    ),
    (
        "rate [Hz]",
        (
            (": loop", "rate [Hz]"),
            (": policy", "command rate [Hz]"),
            (": inference", "inference rate [Hz]"),
        ),
    ),
)
# An axis from zero shows that a steady figure is steady.
FROM_ZERO = {"power [W]", "load [%]", "clock [MHz]", "rate [Hz]"}
_LEVELS = ("OK", "WARN", "ERROR", "STALE")


@dataclass
class Series:
    """One figure over time; `times` are in seconds since the beginning of the recording."""

    label: str
    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@dataclass
class RunReport:
    """Summary of a recording."""

    duration: float  # [s]
    panels: dict[str, list[Series]]  # by title
    changes: list[tuple[float, str, int, str]]  # (time [s], status, new level, message)


def build_report(messages: Iterable[tuple[int, list[Status]]]) -> RunReport:
    """Summarize a recording.

    Args:
        messages: (wall time [ns], statuses), see `mcap.read_recording`.
    """
    wanted = {pair: title for title, pairs in PANELS for pair in pairs}
    found: dict[tuple[str, str, str], Series] = {}
    levels: dict[str, int] = {}
    changes = []
    first = last = None
    for wall_ns, statuses in messages:
        first = wall_ns if first is None else first
        last = wall_ns
        at = (wall_ns - first) / 1e9
        for status in statuses:
            if levels.get(status.name) != status.level:
                levels[status.name] = status.level
                changes.append((at, status.name, status.level, status.message))
            ending = f": {status.name.partition(': ')[2]}"
            for (end, key), title in wanted.items():
                value = _number(status.values.get(key)) if end == ending else None
                if value is not None:
                    series = found.setdefault(
                        (title, status.name, key), Series(_label(status.name, key))
                    )
                    series.times.append(at)
                    series.values.append(value)
    panels: dict[str, list[Series]] = {}
    for title, _ in PANELS:
        chosen = [series for (where, _, _), series in found.items() if where == title]
        if chosen:
            panels[title] = chosen
    duration = 0.0 if first is None or last is None else (last - first) / 1e9
    return RunReport(duration, panels, changes)


def text(report: RunReport) -> str:
    """Return the summary as text: figures (lowest, mean, highest) and every change of a level."""
    lines = [f"{report.duration:.1f} s recorded"]
    for title, many in report.panels.items():
        lines.append(f"\n{title:60s} {'lowest':>10s} {'mean':>10s} {'highest':>10s}")
        for series in many:
            mean = sum(series.values) / len(series.values)
            figures = (min(series.values), mean, max(series.values))
            columns = " ".join(f"{figure:10.1f}" for figure in figures)
            lines.append(f"  {series.label:58s} {columns}")
    lines.append("\nlevels")
    for at, name, level, message in report.changes:
        lines.append(f"  {at:7.1f} s  {_LEVELS[min(level, 3)]:5s}  {name}: {message}")
    return "\n".join(lines)


def _label(status: str, key: str) -> str:
    """`node: part key`; just `node: key` where the key begins with the part's name."""
    node, _, part = status.partition(": ")
    return f"{node}: {key}" if key.startswith(f"{part} ") else f"{status} {key}"


def _number(value: str | None) -> float | None:
    try:
        return float(value) if value is not None else None
    except ValueError:
        return None
