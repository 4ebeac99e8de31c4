"""One finding about the host, and the words and numbers that several checks share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OK, MISSING, PROBLEM = "ok", "missing", "problem"


@dataclass(frozen=True)
class HostAdvice:
    """One line of the report.

    Attributes:
        what: the subject, such as `governor`.
        level: OK, MISSING (the loop would be better with it) or PROBLEM (no policy runs well).
        text: what this host has.
        why: why it matters for the loop.
        help: the command or the setting that helps; empty: nothing to do.
    """

    what: str
    level: str
    text: str
    why: str
    help: str = ""


def cores_text(cores: Sequence[int]) -> str:
    """Return core numbers as the kernel writes them, such as `0-2,5`; empty: `none`."""
    parts: list[str] = []
    numbers = sorted(set(cores))
    begin = 0
    for k, core in enumerate(numbers):
        if k + 1 < len(numbers) and numbers[k + 1] == core + 1:
            continue
        first = numbers[begin]
        parts.append(f"{first}" if first == core else f"{first}-{core}")
        begin = k + 1
    return ",".join(parts) or "none"


def size_text(size: float) -> str:
    """Return a size given in bytes in the largest unit that gives at least 1."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} B"
