"""A bar on stderr for what takes longer than two seconds; nothing where that is no terminal.

It is drawn only by the thread that reports progress, while it reports. A measurement between two
reports has no thread of the bar next to it.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from policy_runner.export.graph.network_export import Progress as Told
from policy_runner.export.graph.network_export import no_progress

_BETWEEN_S = 0.05  # between two drawings: a loop may report each of a million steps


class Counted(Protocol):
    """Is told how many more parts of a step are done."""

    def __call__(self, count: int = 1, /) -> None:
        """Count so many parts more."""


@contextlib.contextmanager
def shown_progress() -> Iterator[Told]:
    """Show the present step, and how much of it is done where it is counted.

    Yields:
        A function of the step's name, and of the done and all parts of it; 0 of 0: not counted.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield no_progress
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("start", total=None)
        shown, drawn_at = "", 0.0

        def tell(text: str, done: int = 0, total: int = 0) -> None:
            nonlocal shown, drawn_at
            now = time.monotonic()
            if text != shown:
                bar.reset(task, description=escape(text), total=total or None)
                shown = text
            elif now - drawn_at < _BETWEEN_S and done < total:
                return
            drawn_at = now
            bar.update(task, completed=done, total=total or None, refresh=True)

        yield tell
    sys.stderr.flush()


@contextlib.contextmanager
def counted_progress(text: str, total: int) -> Iterator[Counted]:
    """Show one step whose parts are counted as they end.

    Args:
        text: of the step.
        total: number of its parts.
    """
    taken = 0
    with shown_progress() as tell:

        def more(count: int = 1) -> None:
            nonlocal taken
            taken += count
            tell(text, taken, total)

        tell(text, 0, total)
        yield more
