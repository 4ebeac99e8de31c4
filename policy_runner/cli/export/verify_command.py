"""`policy-runner verify`: is a folder what its source computes?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from policy_runner.cli.command_parser import count_above_0, not_with, only_with, table_width
from policy_runner.cli.drawing.progress import shown_progress
from policy_runner.cli.export.robot_loop import SECONDS, RobotLoop, add_loops
from policy_runner.cli.export.source_options import (
    SOURCE_OPTIONS,
    add_source_options,
    source_options,
)
from policy_runner.export.card import VERIFIED, table, with_section
from policy_runner.export.verify.rows import FAILED, Verification, cells
from policy_runner.export.verify.verify_policy import ClosedLoop, verify_policy

HEAD = ("compared", "difference", "tolerance", "outcome", "")
_STYLES = {"passed": "green", "failed": "red", "not run": "dim"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DIR, --against, and what the source does not say."""
    parser.epilog = "Differences are |ours - source| / (1 + |source|). See docs/guides/export.md."
    parser.add_argument("folder", type=Path, metavar="DIR", help="the policy's folder")
    parser.add_argument("--against", required=True, metavar="SOURCE",
                        help="what was exported; or an .npz of recorded observations and"
                        " actions, which needs no torch")  # fmt: skip
    parser.add_argument("--recorded", type=Path, metavar="FILE.npz",
                        help="further observations to compare on")  # fmt: skip
    add_loops(parser, "drive this simulated robot, and compare on everything that it observes")
    parser.add_argument(
        "--seeds", type=count_above_0, default=5, help="of the closed loop; default 5"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--no-card", action="store_true", help="leave DIR/README.md as it is")
    add_source_options(parser)
    only_with(parser, "--closed-loop or --robot", lambda given: given.closed_loop or given.robot,
              "--seeds")  # fmt: skip
    not_with(parser, "--against FILE.npz", lambda given: given.against.endswith(".npz"),
             "--recorded", "--closed-loop", "--robot", *SOURCE_OPTIONS)  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Compare, print, write the card's section; 1 when a row failed."""
    loop: ClosedLoop | None = None
    with shown_progress() as progress:
        if arguments.robot or arguments.closed_loop:
            loop = RobotLoop.of(arguments, SECONDS, progress).rows
        found = verify_policy(
            arguments.folder, arguments.against, options=source_options(arguments),
            recorded=arguments.recorded, closed_loop=loop, progress=progress,
        )  # fmt: skip
    if arguments.json:
        print(json.dumps(found.facts(), indent=2))
    else:
        report(found)
    path = arguments.folder / "README.md"
    if not arguments.no_card and path.is_file():
        lines = table(HEAD, [cells(row) for row in found.rows])
        lines += ["", f"Verdict: {found.facts()['verdict']}."]
        text = path.read_text(encoding="utf-8")
        path.write_text(with_section(text, VERIFIED, lines), encoding="utf-8")
    return 0 if found.passed else 1


def report(found: Verification) -> None:
    """The rows as a table, and the verdict."""
    console = Console(highlight=False, width=table_width())
    shown = Table(*HEAD, box=None)
    for row in found.rows:
        shown.add_row(*map(escape, cells(row)), style=_STYLES[row.outcome])
    console.print(shown)
    failed = [row.name for row in found.rows if row.outcome == FAILED]
    if found.passed:
        console.print(
            f"[green]passed[/] {found.folder} is what the source computes", soft_wrap=True
        )
    else:
        console.print(
            f"[red]failed[/] {', '.join(failed) or 'nothing was compared'}", soft_wrap=True
        )
