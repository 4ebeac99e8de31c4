"""What happens to every element of a frame after it was read, in one fixed order.

minus relative_to -> wrap -> replace non-finite -> clip -> scale (or scale -> clip) -> offset.
All terms' settings are laid side by side, so each stage is one array operation for the whole
frame, and a stage that no term asks for costs nothing. A value that is still not finite before
the clip is a fault: a clip would turn an infinity into a plausible number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from policy_runner.core.problems import refuse
from policy_runner.core.spec import TermArithmetic

Array = npt.NDArray[np.float64]
Stage = Callable[[Array], None]


def per_element(value: float | list[float], size: int, file: str, key: str) -> Array:
    """One number for all elements, or one per element: float64 [size].

    Raises:
        Refusal: a list of another length.
    """
    if isinstance(value, list):
        if len(value) != size:
            raise refuse(file, key, f"one number or {size} numbers", f"{len(value)}")
        return np.array(value, dtype=np.float64)
    return np.full(size, float(value))


def bounds(ranges: object, size: int, file: str, key: str) -> tuple[Array, Array]:
    """[low, high] for all or per element, null = open: two float64 [size].

    Raises:
        Refusal: a list of another length, or low above high.
    """
    low, high = np.full(size, -np.inf), np.full(size, np.inf)
    if ranges is None:
        return low, high
    assert isinstance(ranges, list)
    per = ranges if ranges and isinstance(ranges[0], list) else [ranges] * size
    if len(per) != size:
        raise refuse(file, key, f"[low, high] or {size} of them", f"{len(per)}")
    for k, (lower, upper) in enumerate(per):
        low[k] = -np.inf if lower is None else lower
        high[k] = np.inf if upper is None else upper
        if not low[k] <= high[k]:
            raise refuse(file, f"{key}[{k}]", "low at most high", f"[{lower}, {upper}]")
    return low, high


def clip_stage(low: Array, high: Array) -> list[Stage]:
    """One stage per side that bounds anything."""
    stages: list[Stage] = []
    if np.any(low != -np.inf):
        stages.append(lambda x: _ignore(np.maximum(x, low, out=x)))
    if np.any(high != np.inf):
        stages.append(lambda x: _ignore(np.minimum(x, high, out=x)))
    return stages


def _ignore(_result: object) -> None:
    return None


def frame_stages(
    terms: Sequence[tuple[TermArithmetic, Array, int, str]], file: str
) -> tuple[list[Stage], list[Stage]]:
    """The stages for a frame of terms, each given as (settings, relative, size, key).

    Two lists: those before the frame is checked to be finite, and those after.

    Raises:
        Refusal: lengths that do not fit a term.
    """
    columns: dict[str, list[Array]] = {
        name: []
        for name in ("relative", "period", "low1", "high1", "scale", "low2", "high2", "offset")
    }
    fills: dict[str, list[Array]] = {"nan": [], "inf": [], "-inf": []}
    for term, relative, size, key in terms:
        low, high = bounds(term.clip, size, file, f"{key}.clip")
        open_low, open_high = np.full(size, -np.inf), np.full(size, np.inf)
        first = term.order == "clip_scale"
        columns["relative"].append(relative)
        columns["period"].append(np.full(size, term.wrap or 0.0))
        columns["low1"].append(low if first else open_low)
        columns["high1"].append(high if first else open_high)
        columns["scale"].append(per_element(term.scale, size, file, f"{key}.scale"))
        columns["low2"].append(open_low if first else low)
        columns["high2"].append(open_high if first else high)
        columns["offset"].append(per_element(term.offset, size, file, f"{key}.offset"))
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


def _wrap_stage(period: Array) -> Stage:
    where = np.flatnonzero(period > 0)
    span = period[where]
    half = span / 2

    def wrap(x: Array) -> None:
        values = x[where]
        # An infinity has no place in a period, and is left to the non-finite rule by its name.
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
