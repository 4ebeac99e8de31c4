"""The arithmetic on every element of a frame after it was read, in one fixed order.

minus relative_to -> wrap -> replace non-finite -> clip -> scale (or scale -> clip) -> offset.
The settings of all terms are joined to arrays, so each stage is one array operation for the whole
frame. A stage that no term needs does not exist. A value that is still not finite before the clip
is a fault: a clip would turn an infinity into a plausible number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import refuse
from policy_runner.core.model import Array
from policy_runner.core.spec import TermArithmetic, VelocityCommandTerm
from policy_runner.core.spec.named_numbers import bounds_by_name, by_name

Stage = Callable[[Array], None]


def clip_stage(low: Array, high: Array) -> list[Stage]:
    """The clip stages: one per side with at least one finite bound."""
    stages: list[Stage] = []
    if np.any(low != -np.inf):
        stages.append(lambda x: _ignore(np.maximum(x, low, out=x)))
    if np.any(high != np.inf):
        stages.append(lambda x: _ignore(np.minimum(x, high, out=x)))
    return stages


def _ignore(_result: object) -> None:
    return None


def frame_stages(
    terms: Sequence[tuple[TermArithmetic, Array, Sequence[str] | int, str]], file: str
) -> tuple[list[Stage], list[Stage]]:
    """The stages for a frame of terms.

    Args:
        terms: per term (settings, relative, elements, key). `relative` is subtracted, float64
            [elements]. Elements are the names of the term's numbers, or their count. `key` is the
            term's key in the spec, for error messages.
        file: the spec file, for error messages.

    Returns:
        Two lists: stages before the check that the frame is finite, and stages after it.

    Raises:
        Refusal: a length does not fit a term.
    """
    columns: dict[str, list[Array]] = {
        name: []
        for name in ("relative", "period", "low1", "high1", "scale", "low2", "high2", "offset")
    }
    fills: dict[str, list[Array]] = {"nan": [], "inf": [], "-inf": []}
    for term, relative, elements, key in terms:
        names = numbered(elements) if isinstance(elements, int) else elements
        size = len(names)
        low, high = bounds_by_name(term.clip, names, file, f"{key}.clip")
        open_low, open_high = np.full(size, -np.inf), np.full(size, np.inf)
        first = term.order == "clip_scale"
        columns["relative"].append(relative)
        columns["period"].append(_period(term, names, file, key))
        low1, high1 = (low, high) if first else (open_low, open_high)
        if isinstance(term, VelocityCommandTerm) and term.range is not None:
            # The range clamps before the clip. Two clips in a row can be one clip.
            bottom, top = bounds_by_name(term.range, names, file, f"{key}.range")
            low1, high1 = (np.minimum(np.maximum(b, low1), high1) for b in (bottom, top))
        columns["low1"].append(low1)
        columns["high1"].append(high1)
        columns["scale"].append(by_name(term.scale, names, file, f"{key}.scale"))
        columns["low2"].append(open_low if first else low)
        columns["high2"].append(open_high if first else high)
        columns["offset"].append(by_name(term.offset, names, file, f"{key}.offset"))
        for which, fill in fills.items():
            stated = (term.nonfinite or {}).get(which)  # type: ignore[call-overload]
            fill.append(np.full(size, np.nan if stated is None else stated))
    column = {name: np.concatenate(parts) for name, parts in columns.items()}
    before: list[Stage] = []
    if np.any(column["relative"] != 0):
        before.append(lambda x: _ignore(np.subtract(x, column["relative"], out=x)))
    if np.any(column["period"] > 0):
        before.append(_wrap_stage(column["period"]))
    if any(np.any(np.isfinite(part)) for fill in fills.values() for part in fill):
        before.append(_replace_stage({k: np.concatenate(parts) for k, parts in fills.items()}))
    stages = clip_stage(column["low1"], column["high1"])
    if np.any(column["scale"] != 1):
        stages.append(lambda x: _ignore(np.multiply(x, column["scale"], out=x)))
    stages += clip_stage(column["low2"], column["high2"])
    if np.any(column["offset"] != 0):
        stages.append(lambda x: _ignore(np.add(x, column["offset"], out=x)))
    return before, stages


def numbered(size: int) -> list[str]:
    """Names for elements without names: [0], [1], ..."""
    return [f"[{k}]" for k in range(size)]


def _period(term: TermArithmetic, names: Sequence[str], file: str, key: str) -> Array:
    period = by_name(0.0 if term.wrap is None else term.wrap, names, file, f"{key}.wrap")
    if np.any(period < 0):
        raise refuse(file, f"{key}.wrap", "periods above 0, or 0 for no wrap", f"{period.min():g}")
    return period


def _wrap_stage(period: Array) -> Stage:
    where = np.flatnonzero(period > 0)
    span = period[where]
    half = span / 2

    def wrap(x: Array) -> None:
        values = x[where]
        # An infinity cannot be wrapped; it stays for the non-finite rule `inf` or `-inf`.
        x[where] = np.where(np.isinf(values), values, np.mod(values + half, span) - half)

    return wrap


def _replace_stage(fills: dict[str, Array]) -> Stage:
    tests: dict[str, Callable[[Array], npt.NDArray[np.bool_]]] = {
        "nan": np.isnan,
        "inf": np.isposinf,
        "-inf": np.isneginf,
    }

    def replace(x: Array) -> None:
        for which, fill in fills.items():
            found = tests[which](x) & np.isfinite(fill)
            if found.any():
                x[found] = fill[found]

    return replace
