"""`policy-runner monitor`: one screen of `/diagnostics`, every status by node."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from policy_runner.core.errors import refuse
from policy_runner.ros.process.lifetime import EndRequest, end_on_signal

if TYPE_CHECKING:
    from policy_runner.ros.diagnostics.listener import DiagnosticsListener, Row
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `monitor`."""
    parser.add_argument(
        "--once",
        type=float,
        metavar="SECONDS",
        help="listen this long, print once, and exit with the worst level (0 OK to 3 STALE)",
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="statuses whose name has TEXT")
    parser.add_argument("--values", action="store_true", help="show all values as well")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE.mcap",
        help="keep every message, and where the robots' links are",
    )


def run(options: argparse.Namespace) -> int:
    """Show the screen until Ctrl-C, or once."""
    if find_spec("rclpy") is None:
        raise refuse("", "monitor", "the Python module rclpy", "none", "source a ROS 2 environment")
    from policy_runner.ros.diagnostics.listener import DiagnosticsListener

    ended = end_on_signal()
    with ExitStack() as stack:
        on_raw = on_robot = None
        if options.record is not None:
            from policy_runner.telemetry.recording.mcap import Recorder

            recorder = Recorder(options.record)
            stack.callback(recorder.close)
            on_raw = on_robot = recorder.add
        listener = DiagnosticsListener(on_raw, on_robot)
        stack.callback(listener.close)
        if options.once is not None:
            return _once(options, listener, ended)
        _live(options, listener, ended)
    return 0


def _once(options: argparse.Namespace, listener: DiagnosticsListener, ended: EndRequest) -> int:
    ended.wait(options.once)
    rows = chosen(listener.rows(), options.only)
    Console().print(view(rows, options.values))
    return max((row.level for row in rows.values()), default=3)


def _live(options: argparse.Namespace, listener: DiagnosticsListener, ended: EndRequest) -> None:
    from rich.live import Live

    with Live(console=Console(), auto_refresh=False, screen=False) as live:
        while not ended.is_set():
            rows = chosen(listener.rows(), options.only)
            live.update(view(rows, options.values), refresh=True)
            ended.wait(0.5)
