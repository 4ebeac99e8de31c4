"""Problems as the operator reads them: one sentence each, all of them at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

LONGEST_GOT = 500


@dataclass(frozen=True)
class Problem:
    """One problem: its place (file, key), the expected value, the value found, and the remedy."""

    file: str
    key: str
    expected: str
    got: str
    remedy: str = ""

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.key) if part)
        got = self.got if len(self.got) <= LONGEST_GOT else f"{self.got[:LONGEST_GOT]}..."
        text = f"{where}: expected {self.expected}, got {got}"
        text = f"{text}; {self.remedy}" if self.remedy else text
        if text.isprintable():
            return text
        # Escape control characters: file content must not control the terminal.
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Refusal(Exception):
    """Configure or a command is refused. Carries every problem that was found."""

    def __init__(self, problems: Iterable[Problem | str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def refuse(file: str, key: str, expected: str, got: str, remedy: str = "") -> Refusal:
    """Make a `Refusal` with one problem. The caller raises it."""
    return Refusal([Problem(file, key, expected, got, remedy)])


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return "did you mean '...'?" with the most similar known word, or '' if none is similar."""
    near = difflib.get_close_matches(word, sorted(set(known)), n=1, cutoff=cutoff)
    return f"did you mean '{near[0]}'?" if near else ""


class collect:
    """Context manager that catches a `Refusal` and adds its problems to the list."""

    def __init__(self, problems: list[Problem | str]) -> None:
        self._problems = problems

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if isinstance(error, Refusal):
            self._problems += error.problems
            return True
        return False
