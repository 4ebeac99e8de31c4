"""`policy-runner optimize`: smaller and faster variants of a policy, each with a verdict."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from policy_runner.backends.sample_inputs import Sample
from policy_runner.cli.command_parser import count_above_0, only_with, seconds_above_0, table_width
from policy_runner.cli.drawing.progress import shown_progress
from policy_runner.cli.export.robot_loop import SECONDS, RobotLoop, add_loops, reason
from policy_runner.export.optimize.optimize_policy import HEAD, Loop, cells, optimize_policy
from policy_runner.export.optimize.variants import VARIANTS
from policy_runner.export.optimize.verdicts import Optimization, control_text

LOOP = "closed-loop"  # of --calibration
_STYLES = {"helps": "green", "harms": "red", "no gain": "", "not made": "dim"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DIR, -o, --variant, --calibration and the closed loop."""
    parser.epilog = "Errors are in the action's units. See docs/guides/export.md."
    parser.add_argument("folder", type=Path, metavar="DIR", help="the policy's folder")
    parser.add_argument("-o", dest="output", type=Path, metavar="NEW",
                        help="new folder for the best variant that helps; default: only"
                        " judge")  # fmt: skip
    parser.add_argument("--variant", action="append", choices=list(VARIANTS), default=[],
                        help="which to try; default: all")  # fmt: skip
    parser.add_argument("--calibration", metavar="FILE.npz|closed-loop",
                        help="observations: as `policy-runner replay -o` writes them, or of the"
                        " closed loop (--robot, else balancer); default: generated")  # fmt: skip
    add_loops(parser, "judge each by driving this simulated robot, too")
    parser.add_argument(
        "--seeds", type=count_above_0, default=5, help="of the closed loop; default 5"
    )
    parser.add_argument("--seconds", type=seconds_above_0, default=SECONDS,
                        help=f"simulated, for each seed; default {SECONDS:g} s")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace NEW")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    only_with(parser, "-o", lambda given: given.output, "--force")
    only_with(
        parser, "--closed-loop, --robot or --calibration closed-loop",
        lambda given: given.closed_loop or given.robot or given.calibration == LOOP,
        "--seeds", "--seconds",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Judge and perhaps apply; 0 also where nothing was applied, which is a normal outcome."""
    loop: Loop | None = None
    with shown_progress() as progress:
        if arguments.robot or arguments.closed_loop:
            driven = RobotLoop.of(arguments, arguments.seconds, progress)
            original = driven.drive(arguments.folder)

            def loop(folder: Path) -> tuple[str, bool]:
                return reason(driven.drive(folder), original)

        given: Path | list[Sample] | None = None
        if arguments.calibration == LOOP:
            robot = RobotLoop.of(arguments, arguments.seconds, progress)
            given = robot.samples(arguments.folder)
        elif arguments.calibration:
            given = Path(arguments.calibration)
        found = optimize_policy(
            arguments.folder, arguments.output, names=arguments.variant or list(VARIANTS),
            observations=given, closed_loop=loop, force=arguments.force, progress=progress,
        )  # fmt: skip
    if arguments.json:
        print(json.dumps(found.facts(), indent=2))
    else:
        report(found, arguments.output)
    return 0


def report(found: Optimization, output: Path | None) -> None:
    """The variants as a table, and what was applied."""
    console = Console(highlight=False, width=table_width())
    shown = Table(*HEAD, box=None)
    for row in found.rows:
        shown.add_row(*map(escape, cells(row)), style=_STYLES[row.verdict])
    console.print(shown)
    for row in found.rows:
        console.print(f"  {row.name}: {row.verdict}, {escape(row.why)}", soft_wrap=True)
    console.print(
        f"{found.samples} {found.observations} observations; {control_text(found)}", soft_wrap=True
    )
    if found.applied:
        console.print(f"[green]applied[/] {found.applied}: {output}")
    elif output is not None:
        console.print("not applied: no variant helps without harm")
