"""The screen of `policy-runner monitor`: as much detail as the terminal has room for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from policy_runner.ros.diagnostics.listener import Row
_LEVELS = (("OK", "green"), ("WARN", "yellow"), ("ERROR", "red"), ("STALE", "magenta"))
# A status without a message for this long is shown as silent; publishers send one each second.
_SILENT_NS = 5_000_000_000
_ROBOT_WIDTH = 60  # least characters for one robot next to another


def chosen(rows: Mapping[str, Row], only: str) -> dict[str, Row]:
    """Return the statuses whose name contains `only`, sorted by name."""
    return {name: rows[name] for name in sorted(rows) if only in name}


def view(rows: Mapping[str, Row], with_values: bool, now_ns: int | None = None) -> RenderableType:
    """Build the whole screen."""
    if not rows:
        return Text("nothing heard on /diagnostics yet", "dim")
    now = time.monotonic_ns() if now_ns is None else now_ns
    robots = {space: _robot(of, with_values, now) for space, of in by_robot(rows).items()}
    return next(iter(robots.values())) if len(robots) == 1 else _SideBySide(robots)


def by_robot(rows: Mapping[str, Row]) -> dict[str, dict[str, Row]]:
    """Return the statuses by namespace of their node; "" for names without one."""
    found: dict[str, dict[str, Row]] = {}
    for name in sorted(rows):
        node = name.partition(": ")[0]
        space = node.rpartition("/")[0] if node.startswith("/") else ""
        found.setdefault(space, {})[name] = rows[name]
    return found


def fitted(
    rows: Mapping[str, Row], with_values: bool, console: Console, now_ns: int | None = None
) -> RenderableType:
    """Build the screen with as much detail as fits: the values are left out first.

    Then every status has one line; then the ones that are OK share lines; then the least severe
    ones are only counted.

    Args:
        rows: status by name.
        with_values: show the values as well, where there is room.
        console: the terminal; its size is read now, so the screen grows with it.
        now_ns: monotonic clock [ns]; None: read it.
    """
    now = time.monotonic_ns() if now_ns is None else now_ns
    height = max(1, console.size.height - 1)  # the cursor has the last line
    choices: list[Callable[[], RenderableType]] = [lambda: view(rows, False, now)]
    if with_values:
        choices.insert(0, lambda: view(rows, True, now))
    choices += [lambda: _lines(rows, now, joined=False), lambda: _lines(rows, now, joined=True)]
    for choice in choices:
        built = choice()
        lines = console.render_lines(built, console.options.update(height=None), pad=False)
        if len(lines) <= height:
            return built
    return _worst(rows, now, height)


def _lines(rows: Mapping[str, Row], now_ns: int, joined: bool) -> RenderableType:
    """One line for each status; `joined`: the names of those that are OK in one line per node."""
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for node in sorted({name.partition(": ")[0] for name in rows}):
        table.add_row("", Text(node, "bold"), "")
        well = []
        for name, row in rows.items():
            if name.partition(": ")[0] != node:
                continue
            level, colour, message = _said(row, now_ns)
            part = name.partition(": ")[2] or name
            if joined and level == "OK":
                well.append(part)
            else:
                table.add_row(Text(level, colour), part, Text(message))
        if well:
            table.add_row(Text("OK", "green"), f"{len(well)} of them", Text(", ".join(well)))
    return table


def _worst(rows: Mapping[str, Row], now_ns: int, height: int) -> RenderableType:
    """The most severe statuses, one line each, and how many there are in addition."""
    order = {"ERROR": 0, "STALE": 1, "SILENT": 2, "WARN": 3, "OK": 4}
    said = sorted(((_said(row, now_ns), name) for name, row in rows.items()),
                  key=lambda one: (order[one[0][0]], one[1]))  # fmt: skip
    shown = said[: max(0, height - 1)]
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for (level, colour, message), name in shown:
        table.add_row(Text(level, colour), Text(f"{name}: {message}"))
    more = said[len(shown) :]
    bad = sum(level != "OK" for (level, _, _), _ in more)
    rest = f"and {len(more)} more, {bad or 'none'} of them not OK: make the terminal higher"
    return Group(table, Text(rest, "bold" if bad else "dim", no_wrap=True, overflow="ellipsis"))


def _said(row: Row, now_ns: int) -> tuple[str, str, str]:
    """Level, colour and message of a status."""
    level, colour = _LEVELS[min(row.level, 3)]
    silent = now_ns - row.heard_ns
    if silent > _SILENT_NS:
        return "SILENT", "magenta", f"for {silent / 1e9:.0f} s; last: {row.message}"
    return level, colour, row.message


def _robot(rows: Mapping[str, Row], with_values: bool, now_ns: int) -> Group:
    parts: list[RenderableType] = [
        Panel(Text(row.message, _LEVELS[min(row.level, 3)][1]), title=name, title_align="left")
        for name, row in rows.items()
        if name.endswith(": policy")
    ]
    for node in sorted({name.partition(": ")[0] for name in rows}):
        parts.append(_node(node, rows, with_values, now_ns))
    return Group(*parts)


class _SideBySide:
    """Several robots next to each other, as many in a row as the terminal has room for."""

    def __init__(self, robots: Mapping[str, RenderableType]) -> None:
        self._robots = dict(robots)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        fit = max(1, options.max_width // _ROBOT_WIDTH)
        names = list(self._robots)
        for first in range(0, len(names), fit):
            row = names[first : first + fit]
            table = Table.grid(expand=True, padding=(0, 1))
            for _ in range(min(fit, len(names))):
                table.add_column(ratio=1)
            table.add_row(*(Text(name or "no namespace", "bold") for name in row))
            table.add_row(*(self._robots[name] for name in row))
            yield table


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
        level, colour, message = _said(row, now_ns)
        table.add_row(Text(level, colour), name.partition(": ")[2] or name, Text(message))
        if with_values:
            for key, value in row.values.items():
                table.add_row("", Text(f"  {key}", "dim"), Text(value, "dim"))
    title = f"{node} ({hardware})" if hardware else node
    return Panel(table, title=title, title_align="left")
