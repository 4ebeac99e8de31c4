"""Normalization with stored statistics, precomputed to one subtraction and one division.

The formulas and presets are in `formulas`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import Problem, Refusal
from policy_runner.core.observation.formulas import PRESETS, SPANS, Formula, resolve_formula

__all__ = [
    "PRESETS", "Formula", "Normalizer", "build_normalizer", "identity", "resolve_formula",
    "side_by_side",
]  # fmt: skip
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Normalizer:
    """x -> clip((x - mean) / denominator + shift, low, high), element by element, float64 [n].

    Every formula here is of that form: to [-1, 1], `mean` is the lower end, the denominator half
    the span, and shift -1. `back` is the denominator on the way back, where it is another.
    """

    mean: Array
    denominator: Array
    low: float | Array = -np.inf
    high: float | Array = np.inf
    back: Array | None = None
    shift: float | Array = 0.0
    _clips: bool = field(init=False, default=False)
    _shifts: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        clips = bool(np.any(np.isfinite(self.low)) or np.any(np.isfinite(self.high)))
        object.__setattr__(self, "_clips", clips)
        object.__setattr__(self, "_shifts", bool(np.any(self.shift)))

    def normalize(self, x: Array, out: Array) -> None:
        """Write the normalized x, float64 [n], to out (which may be x)."""
        np.subtract(x, self.mean, out=out)
        np.divide(out, self.denominator, out=out)
        if self._shifts:
            np.add(out, self.shift, out=out)
        if self._clips:
            np.maximum(out, self.low, out=out)
            np.minimum(out, self.high, out=out)

    def denormalize(self, y: Array) -> Array:
        """The x that gives y, where y was not clipped; float64 [n]."""
        return np.asarray((y - self.shift) * self.spread + self.mean, dtype=np.float64)

    @property
    def spread(self) -> Array:
        """The denominator on the way back."""
        return self.denominator if self.back is None else self.back


def identity(size: int) -> Normalizer:
    """x -> x, float64 [size]."""
    return Normalizer(np.zeros(size), np.ones(size))


def side_by_side(parts: Sequence[Normalizer]) -> Normalizer:
    """One normalizer for several, each over its own elements."""
    sizes = [part.mean.size for part in parts]

    def joined(values: Sequence[float | Array]) -> Array:
        return np.concatenate(
            [np.broadcast_to(value, size) for value, size in zip(values, sizes, strict=True)]
        ).astype(np.float64)

    return Normalizer(
        joined([part.mean for part in parts]),
        joined([part.denominator for part in parts]),
        joined([part.low for part in parts]),
        joined([part.high for part in parts]),
        joined([part.spread for part in parts]),
        joined([part.shift for part in parts]),
    )


def build_normalizer(
    formula: Formula,
    statistics: Mapping[str, Array],
    names: Mapping[str, str],
    size: int,
    file: str,
) -> Normalizer:
    """Precompute mean and denominator from stored statistics, for `size` elements.

    `names` maps mean, std, var, ... to the keys of the file where they differ.

    Raises:
        Refusal: a statistic is missing, of another length, not finite, or gives a division by 0.
    """
    if formula.kind == "identity":
        one = identity(size)
        return Normalizer(one.mean, one.denominator, formula.low, formula.high)
    if formula.kind in SPANS:
        low_key, high_key = SPANS[formula.kind]
        found = _statistics((low_key, high_key), statistics, names, size, file)
        low, spread = found[low_key], found[high_key] - found[low_key]
        last = names.get(high_key, high_key)
        if np.any(spread < 0):
            bad = int(np.flatnonzero(spread < 0)[0])
            expected = f"at least {names.get(low_key, low_key)}, {low[bad]:g}"
            got = f"{found[high_key][bad]:g}"
            raise Refusal([Problem(file, f"{last}[{bad}]", expected, got)])
    else:
        last = "std" if formula.kind == "mean_std" else "var"
        found = _statistics(("mean", last), statistics, names, size, file)
        spread, last = found[last], names.get(last, last)
        variance = spread if formula.kind == "mean_var" else np.square(spread)
        if formula.eps_in_sqrt:
            spread = variance
        elif formula.kind == "mean_var":
            spread = np.sqrt(spread)
    if formula.eps_if_zero:
        denominator = np.where(spread == 0, formula.eps, spread)
    else:
        denominator = spread + formula.eps
    without = denominator if formula.eps_in_inverse else spread
    if formula.eps_in_sqrt and formula.kind not in SPANS:
        denominator, without = np.sqrt(denominator), np.sqrt(without)
    if np.any(denominator == 0):
        bad = int(np.flatnonzero(denominator == 0)[0])
        expected = "a spread above 0 (eps is 0)"
        raise Refusal([Problem(file, f"{last}[{bad}]", expected, "0")])
    if formula.kind in SPANS:
        half = denominator / 2
        return Normalizer(low, half, formula.low, formula.high, shift=-1.0)
    back = None if formula.eps_in_inverse else without
    return Normalizer(found["mean"], denominator, formula.low, formula.high, back)


def _statistics(
    wanted: Sequence[str],
    statistics: Mapping[str, Array],
    names: Mapping[str, str],
    size: int,
    file: str,
) -> dict[str, Array]:
    """The wanted statistics, each float64 [size]; std from var and the other way round."""
    problems: list[Problem | str] = []
    found: dict[str, Array] = {}
    for key in wanted:
        name = names.get(key, key)
        # std and var say the same; which of the two a file stores is no matter of the formula.
        other = {"std": "var", "var": "std"}.get(key, "")
        stored = names.get(other, other)
        converted = bool(other) and name not in statistics and key not in names
        converted = converted and stored in statistics
        if converted:
            name = stored
        if name not in statistics:
            have = ", ".join(statistics) or "nothing"
            problems.append(Problem(file, name, "this statistic", f"only {have}"))
            continue
        values = statistics[name]
        if values.shape != (size,):
            expected = f"{size} numbers, one per element of the observation"
            problems.append(Problem(file, name, expected, f"{values.size}"))
        elif not np.all(np.isfinite(values)):
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            problems.append(Problem(file, f"{name}[{bad}]", "a finite number", f"{values[bad]}"))
        elif other and np.any(values < 0):
            bad = int(np.flatnonzero(values < 0)[0])
            problems.append(Problem(file, f"{name}[{bad}]", "0 or more", f"{values[bad]}"))
        elif converted:
            found[key] = np.sqrt(values) if other == "var" else np.square(values)
        else:
            found[key] = values
    if problems:
        raise Refusal(problems)
    return found
