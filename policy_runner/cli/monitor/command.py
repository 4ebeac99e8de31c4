"""`policy-runner monitor`: one screen of `/diagnostics`, every status by node."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from policy_runner.cli.monitor.screen import chosen, fitted, view
from policy_runner.core.errors import refuse
from policy_runner.ros.process.lifetime import EndRequest, end_on_signal

if TYPE_CHECKING:
    from policy_runner.ros.diagnostics.listener import DiagnosticsListener


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

    console = Console()
    with Live(console=console, auto_refresh=False, screen=False) as live:
        while not ended.is_set():
            rows = chosen(listener.rows(), options.only)
            live.update(fitted(rows, options.values, console), refresh=True)
            ended.wait(0.5)
