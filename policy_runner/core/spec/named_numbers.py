"""Numbers for named elements: one for all, one per element in order, or by name or pattern."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.model import Array

T = TypeVar("T")


def by_name(value: object, names: Sequence[str], file: str, key: str) -> Array:
    """Resolve numbers to an array with one number per element, float64 [n].

    A key of a mapping is a name, or a regular expression that matches whole names. An exact name
    has priority. Without it, exactly one pattern must match.

    Args:
        value: one number for all elements, a list in their order, or a mapping by name.
        names: the names of the elements.
        file: the file with the numbers, for error messages.
        key: their key in the file, for error messages.

    Raises:
        Refusal: a list has another length, a key matches nothing, or an element matches no key
            or several patterns.
    """
    if isinstance(value, Mapping):
        return np.array(match_names(value, names, file, key), dtype=np.float64)
    if isinstance(value, list):
        if len(value) != len(names):
            raise refuse(file, key, f"one number or {len(names)} numbers", f"{len(value)}")
        return np.array(value, dtype=np.float64)
    assert isinstance(value, (int, float))
    return np.full(len(names), float(value))


def match_names(value: Mapping[str, T], names: Sequence[str], file: str, key: str) -> list[T]:
    """The mapping's value for each name; see `by_name` for the rule.

    Raises:
        Refusal: see `by_name`.
    """
    patterns = {pattern: _compiled(pattern, names, file, key) for pattern in value}
    found = []
    for name in names:
        matching = [p for p in patterns if p == name] or [
            p for p, compiled in patterns.items() if compiled.fullmatch(name)
        ]
        if not matching:
            raise refuse(file, key, f"a number for every one of {_listed(names)}", f"none: {name}")
        if len(matching) > 1:
            got = " and ".join(f"'{pattern}'" for pattern in matching)
            raise refuse(file, key, f"one pattern for '{name}'", got)
        found.append(value[matching[0]])
    return found


def matching_names(pattern: str, names: Sequence[str], file: str, key: str) -> list[str]:
    """The names that a pattern matches as a whole.

    Raises:
        Refusal: it is no regular expression that ends soon, or it matches no name.
    """
    compiled = _compiled(pattern, names, file, key)
    return [name for name in names if compiled.fullmatch(name)]


def _compiled(pattern: str, names: Sequence[str], file: str, key: str) -> re.Pattern[str]:
    if pattern not in names and not _quick(pattern):
        got = f"'{pattern[:80]}'"
        raise refuse(file, key, f"a regular expression {_QUICK}", got, "write the names out")
    try:
        compiled = re.compile(pattern if _quick(pattern) else re.escape(pattern))
    except (re.error, RecursionError, OverflowError) as error:
        raise refuse(file, key, "a name or a regular expression", f"'{pattern}'") from error
    if pattern not in names and not any(compiled.fullmatch(name) for name in names):
        expected = f"a name or pattern of {_listed(names)}"
        raise refuse(file, key, expected, f"'{pattern}'", did_you_mean(pattern, names))
    return compiled


_QUICK = "with at most 200 characters and 4 repetitions, and no repeated group"


def _quick(pattern: str) -> bool:
    """Whether a search with the pattern ends soon for all names.

    With a repeated group, as in (a+)+, the time may double with every letter.
    """
    plain = re.sub(r"\\.|\[\]?[^\]]*\]", "x", pattern)  # without escapes and classes
    repeated = re.findall(r"[*+?{]", plain.replace("(?:", "("))
    return len(pattern) <= 200 and len(repeated) <= 4 and not re.search(r"\)[*+?{]", plain)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:40])
    return shown + (", ..." if len(names) > 40 else "")


def bounds_by_name(
    ranges: object, names: Sequence[str], file: str, key: str
) -> tuple[Array, Array]:
    """Resolve ranges to low and high, two float64 [n].

    Args:
        ranges: [low, high] for all elements, one per element, or a mapping by name. null means no
            bound. None: no bounds.
        names: the names of the elements.
        file: the file with the ranges, for error messages.
        key: their key in the file, for error messages.

    Raises:
        Refusal: see `by_name`, or low is above high.
    """
    size = len(names)
    if isinstance(ranges, Mapping):
        ranges = match_names(ranges, names, file, key)
    low, high = np.full(size, -np.inf), np.full(size, np.inf)
    if ranges is None:
        return low, high
    assert isinstance(ranges, list)
    if not ranges:
        raise refuse(file, key, f"[low, high] or {size} of them", "an empty list")
    per = ranges if ranges and isinstance(ranges[0], list) else [ranges] * size
    if len(per) != size:
        raise refuse(file, key, f"[low, high] or {size} of them", f"{len(per)}")
    for k, (lower, upper) in enumerate(per):
        low[k] = -np.inf if lower is None else lower
        high[k] = np.inf if upper is None else upper
        if not low[k] <= high[k]:
            raise refuse(file, f"{key}[{k}]", "low at most high", f"[{lower}, {upper}]")
    return low, high
