"""The rows of a verification: what was compared, what came out, and whether that is enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: what was compared.
        outcome: passed, failed or not run.
        figure: the number that decided, where there is one.
        tolerance: what it may be at most.
        text: what a person needs to know: the culprit, or why it was not run.
    """

    name: str
    outcome: str
    figure: float | None = None
    tolerance: float | None = None
    text: str = ""


@dataclass
class Verification:
    """Every row, and the verdict."""

    folder: str
    source: str
    rows: list[Row] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether no row failed and some number was compared with the source."""
        compared = any(r.figure is not None and r.outcome == PASSED for r in self.rows)
        return compared and all(row.outcome != FAILED for row in self.rows)

    def facts(self) -> dict[str, Any]:
        """For JSON: verdict and rows."""
        verdict = PASSED if self.passed else FAILED
        return {
            "folder": self.folder,
            "source": self.source,
            "verdict": verdict,
            "rows": [asdict(row) for row in self.rows],
        }


def within(name: str, figure: float, tolerance: float, text: str = "") -> Row:
    """The row of a figure; one that is not finite failed."""
    outcome = PASSED if figure <= tolerance else FAILED
    return Row(name, outcome, figure, tolerance, text)


def said(name: str, problems: Sequence[str], fine: str = "") -> Row:
    """The row of a look at the files: failed with what was found."""
    if problems:
        return Row(name, FAILED, text="; ".join(problems))
    return Row(name, PASSED, text=fine)


def cells(row: Row) -> list[str]:
    """The row as text, for tables."""
    figure = "" if row.figure is None else f"{row.figure:.3g}"
    tolerance = "" if row.tolerance is None else f"{row.tolerance:g}"
    return [row.name, figure, tolerance, row.outcome, row.text]
