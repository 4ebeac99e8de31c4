"""Requirements such as `falls == 0, vx_rmse < 0.15`: their grammar, and whether figures fulfil one.

requirements = requirement { ("," | "and") requirement }
requirement  = name operator number
operator     = "==" | "!=" | "<" | "<=" | ">" | ">="
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from policy_runner.core.errors import Problem, Refusal, did_you_mean

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_REQUIREMENT = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(==|!=|<=|>=|<|>)\s*(\S+)\s*")
_BETWEEN = re.compile(r",|\band\b")


@dataclass(frozen=True)
class Requirement:
    """One comparison of a figure with a number."""

    name: str
    operator: str
    number: float

    def __str__(self) -> str:
        return f"{self.name} {self.operator} {self.number:g}"

    def fulfilled(self, figures: Mapping[str, float | int | None]) -> bool:
        """Whether the figures fulfil it. A figure that was not measured fulfils nothing."""
        value = figures[self.name]
        return value is not None and OPERATORS[self.operator](float(value), self.number)


def read_requirements(text: str, names: Sequence[str]) -> list[Requirement]:
    """Read requirements.

    Args:
        text: see the grammar above.
        names: of the figures.

    Raises:
        Refusal: lists every part that is no requirement or has an unknown name.
    """
    found: list[Requirement] = []
    problems: list[Problem | str] = []
    for part in _BETWEEN.split(text):
        match = _REQUIREMENT.fullmatch(part)
        number = _number(match[3]) if match else None
        if match is None or number is None:
            expected = "NAME OPERATOR NUMBER, such as 'falls == 0, vx_rmse < 0.15'"
            problems.append(Problem("", "--require", expected, repr(part.strip())))
        elif match[1] not in names:
            expected = f"one of {', '.join(names)}"
            hint = did_you_mean(match[1], names)
            problems.append(Problem("", "--require", expected, repr(match[1]), hint))
        else:
            found.append(Requirement(match[1], match[2], number))
    if problems:
        raise Refusal(problems)
    return found


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
