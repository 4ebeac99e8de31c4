"""What `policy-runner ctl status` prints: the state in one line, then what explains it."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from policy_runner.ros.operate.report import RunnerReport

_LEVELS = (("OK", "green"), ("WARN", "yellow"), ("ERROR", "red"), ("STALE", "magenta"))
_DECISIONS = {"RUN": "green", "HOLD": "yellow", "STARTING": "yellow", "SAFE_STOP": "red"}
_ORDER = ("model", "safety", "loop", "inputs", "inference")  # then all others


def view(report: RunnerReport) -> RenderableType:
    """Draw one report.

    The first line has the state, the decision and its reason. The lines below say whether the
    robot is armed, and show each status of the node with its level.
    """
    is_active = report.lifecycle == "active"
    colour = _DECISIONS.get(report.decision, "") if is_active and not report.is_silent else "red"
    if not is_active:
        colour = "yellow"
    parts: list[RenderableType] = [Text(f"{report.name}: {report.headline}", colour)]
    rows = Table.grid(padding=(0, 2))
    rows.add_column(no_wrap=True)
    rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    if is_active and report.decision:
        rows.add_row("", "armed", "yes" if report.armed else "no: `policy-runner ctl arm`")
        rows.add_row("", "commands", "leave" if report.commanding else "none leave")
    names = [name for name in _ORDER if name in report.parts]
    for name in [*names, *(name for name in sorted(report.parts) if name not in _ORDER)]:
        part = report.parts[name]
        level, style = _LEVELS[min(part.level, 3)]
        rows.add_row(Text(level, style), name, Text(part.message))
    if rows.row_count:
        parts.append(rows)
    return Group(*parts)
