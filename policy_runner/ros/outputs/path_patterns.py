"""Writes many field paths as one: `poses[0:20].pose.position.{x,y}` stands for 40 paths."""

from __future__ import annotations

import re
from collections.abc import Sequence

from policy_runner.core.errors import Problem

MOST_PATHS = 10_000
_SEVERAL = re.compile(r"\[(?P<first>\d{1,9}):(?P<last>\d{1,9})\]|\{(?P<names>[^{}]*)\}")


def every_path(patterns: Sequence[str], key: str, problems: list[Problem | str]) -> tuple[str, ...]:
    """Return the paths that the patterns stand for, in their order.

    `[first:last]` stands for the indices from `first` to `last` - 1, `{a,b}` for the names between
    the braces. Of several in one pattern the left one changes slowest:
    `p[0:2].{x,y}` is `p[0].x`, `p[0].y`, `p[1].x`, `p[1].y`.

    Args:
        patterns: paths, with any number of slices and braces.
        key: the parameter that contains them, for the problem.
        problems: gets one problem per pattern that stands for no paths.
    """
    found: list[str] = []
    for pattern in patterns:
        try:
            found += _expanded(pattern)
        except ValueError as error:
            problems.append(Problem("", key, str(error), f"'{pattern}'"))
    return tuple(found)


def _expanded(pattern: str) -> list[str]:
    """Return the paths of one pattern.

    Raises:
        ValueError: a slice is empty, a name is missing, or the paths are too many; the text is
            the expected value.
    """
    paths = [""]
    at = 0
    for match in _SEVERAL.finditer(pattern):
        if match["names"] is None:
            first, last = int(match["first"]), int(match["last"])
            if first >= last:
                raise ValueError("slices [first:last] with first < last")
            if last - first > MOST_PATHS:
                raise ValueError(f"at most {MOST_PATHS} paths")
            parts = [f"[{k}]" for k in range(first, last)]
        else:
            parts = [name.strip() for name in match["names"].split(",")]
            if not all(parts):
                raise ValueError("braces of names such as {x,y}")
        if len(paths) * len(parts) > MOST_PATHS:
            raise ValueError(f"at most {MOST_PATHS} paths")
        between = pattern[at : match.start()]
        paths = [f"{path}{between}{part}" for path in paths for part in parts]
        at = match.end()
    return [path + pattern[at:] for path in paths]
