"""One screen of `/diagnostics`: the sentence first, then every status by node."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from policy_runner.ros.diagnostics.jetson_diagnostics_listener import Row

_LEVELS = (("OK", "green"), ("WARN", "yellow"), ("ERROR", "red"), ("STALE", "magenta"))
# A publisher of one message a second that is not heard for this long is shown as silent.
_SILENT_NS = 5_000_000_000


def chosen(rows: Mapping[str, Row], only: str) -> dict[str, Row]:
    """Statuses whose name contains `only`, sorted by name."""
    return {name: rows[name] for name in sorted(rows) if only in name}


def view(rows: Mapping[str, Row], with_values: bool, now_ns: int | None = None) -> RenderableType:
    """The whole screen."""
    if not rows:
        return Text("nothing heard on /diagnostics yet", "dim")
    now = time.monotonic_ns() if now_ns is None else now_ns
    parts: list[RenderableType] = [
        Panel(Text(row.message, _LEVELS[min(row.level, 3)][1]), title=name, title_align="left")
        for name, row in rows.items()
        if name.endswith(": policy")
    ]
    for node in sorted({name.partition(": ")[0] for name in rows}):
        parts.append(_node(node, rows, with_values, now))
    return Group(*parts)


def _node(node: str, rows: Mapping[str, Row], with_values: bool, now_ns: int) -> Panel:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    hardware = ""
    for name, row in rows.items():
        if name.partition(": ")[0] != node:
            continue
        hardware = row.hardware_id or hardware
        level, colour = _LEVELS[min(row.level, 3)]
        message = row.message
        silent = now_ns - row.heard_ns
        if silent > _SILENT_NS:
            level, colour = "SILENT", "magenta"
            message = f"for {silent / 1e9:.0f} s; last: {message}"
        table.add_row(Text(level, colour), name.partition(": ")[2] or name, Text(message))
        if with_values:
            for key, value in row.values.items():
                table.add_row("", Text(f"  {key}", "dim"), Text(value, "dim"))
    title = f"{node} ({hardware})" if hardware else node
    return Panel(table, title=title, title_align="left")
