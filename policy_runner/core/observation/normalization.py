"""Normalization formulas of common trainers, and their presets.

| preset             | formula                                    | way back                   |
|--------------------|--------------------------------------------|----------------------------|
| sb3                | clip((x - mean) / sqrt(var + 1e-8), +-10)  | y sqrt(var + 1e-8) + mean  |
| rsl_rl             | (x - mean) / (std + 1e-2)                  | y (std + 1e-2) + mean      |
| rl_games           | clip((x - mean) / sqrt(var + 1e-5), +-5)   | y sqrt(var + 1e-5) + mean  |
| skrl               | clip((x - mean) / (sqrt(var) + 1e-8), +-5) | y sqrt(var) + mean         |
| lerobot_mean_std   | (x - mean) / (std + 1e-8)                  | y std + mean               |
| lerobot_min_max    | 2 (x - min) / d - 1, d = max - min         | (y + 1) / 2 d + min        |
| lerobot_quantiles  | 2 (x - q01) / d - 1, d = q99 - q01         | (y + 1) / 2 d + q01        |
| lerobot_quantile10 | 2 (x - q10) / d - 1, d = q90 - q10         | (y + 1) / 2 d + q10        |
| lerobot_identity   | x                                          | y                          |
| openpi_z           | (x - mean) / (std + 1e-6)                  | y (std + 1e-6) + mean      |
| openpi_quantile    | 2 (x - q01) / (q99 - q01 + 1e-6) - 1       | (y + 1) / 2 (...) + q01    |

Sources: stable-baselines3 VecNormalize, rsl_rl EmpiricalNormalization, rl_games
RunningMeanStd, skrl RunningStandardScaler, lerobot normalize_processor (1e-8 instead of a d of
0), openpi transforms. skrl and lerobot_mean_std have no eps on the way back, so they
lose eps / spread there. The way back does not clip.

The size of eps, and its place inside or outside the root, belong to the model:
with std 0.005 and x - mean = 0.01 the first four presets give 2.0, 0.67, 1.69 and 2.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from policy_runner.core.errors import Problem, Refusal
from policy_runner.core.model import Array
from policy_runner.core.spec import Normalization
from policy_runner.core.spec.named_numbers import bounds_by_name

# The statistics that are low and high in the formulas that map to [-1, 1].
SPANS = {"min_max": ("min", "max"), "quantiles": ("q01", "q99"), "quantile10": ("q10", "q90")}


@dataclass(frozen=True)
class Formula:
    """A formula: its statistics, the place of eps, and the clip after it."""

    kind: str  # mean_std | mean_var | min_max | quantiles | quantile10 | identity
    eps: float
    eps_in_sqrt: bool
    low: float = -np.inf
    high: float = np.inf
    eps_if_zero: bool = False
    eps_in_inverse: bool = True


PRESETS = {
    "sb3": Formula("mean_var", 1e-8, True, -10.0, 10.0),
    "rsl_rl": Formula("mean_std", 1e-2, False),
    "rl_games": Formula("mean_var", 1e-5, True, -5.0, 5.0),
    "skrl": Formula("mean_var", 1e-8, False, -5.0, 5.0, eps_in_inverse=False),
    "lerobot_mean_std": Formula("mean_std", 1e-8, False, eps_in_inverse=False),
    "lerobot_min_max": Formula("min_max", 1e-8, False, eps_if_zero=True),
    "lerobot_quantiles": Formula("quantiles", 1e-8, False, eps_if_zero=True),
    "lerobot_quantile10": Formula("quantile10", 1e-8, False, eps_if_zero=True),
    "lerobot_identity": Formula("identity", 0.0, False),
    "openpi_z": Formula("mean_std", 1e-6, False),
    "openpi_quantile": Formula("quantiles", 1e-6, False),
}


def resolve_formula(spec: Normalization, file: str, key: str) -> Formula:
    """The formula of the preset; the spec's own keys override the preset.

    Args:
        spec: the normalization.
        file: the spec file, for error messages.
        key: the normalization's key in the spec, for error messages.

    Raises:
        Refusal: there is no preset, and a part of the formula is missing.
    """
    base = PRESETS[spec.preset] if spec.preset else None
    if base is None:
        parts = {"formula": spec.formula, "eps": spec.eps}
        if spec.formula in ("mean_std", "mean_var", None):
            parts["eps_in_sqrt"] = spec.eps_in_sqrt
        if spec.formula == "identity":
            del parts["eps"]
        missing = [part for part, value in parts.items() if value is None]
        if missing:
            expected = f"`preset`, or all of {', '.join(parts)}"
            raise Refusal([Problem(file, key, expected, f"no {', '.join(missing)}")])
        base = Formula("identity", 0.0, False)
    low, high = base.low, base.high
    if spec.clip is not None:
        sides = bounds_by_name(spec.clip, ["clip"], file, f"{key}.clip")
        low, high = (float(side[0]) for side in sides)

    def over(given: bool | None, preset: bool) -> bool:
        return preset if given is None else given

    return Formula(
        spec.formula or base.kind,
        spec.eps if spec.eps is not None else base.eps,
        over(spec.eps_in_sqrt, base.eps_in_sqrt),
        low,
        high,
        over(spec.eps_if_zero, base.eps_if_zero),
        over(spec.eps_in_inverse, base.eps_in_inverse),
    )


@dataclass(frozen=True)
class Normalizer:
    """x -> clip((x - mean) / denominator + shift, low, high), element by element, float64 [n].

    Every formula has this form. For formulas that map to [-1, 1], `mean` is the lower end,
    `denominator` is half the span, and `shift` is -1. `back` is the denominator on the way back;
    None: the same denominator.
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
        """Write the normalized `x`, float64 [n], to `out`, which may be `x` itself."""
        np.subtract(x, self.mean, out=out)
        np.divide(out, self.denominator, out=out)
        if self._shifts:
            np.add(out, self.shift, out=out)
        if self._clips:
            np.maximum(out, self.low, out=out)
            np.minimum(out, self.high, out=out)

    def denormalize(self, y: Array) -> Array:
        """The x whose normalized value is `y`, if `y` was not clipped; float64 [n]."""
        return np.asarray((y - self.shift) * self.spread + self.mean, dtype=np.float64)

    def part(self, first: int, last: int) -> Normalizer:
        """The normalizer of the elements [first, last)."""

        def cut(values: float | Array) -> float | Array:
            return values[first:last] if isinstance(values, np.ndarray) else values

        back = None if self.back is None else self.back[first:last]
        return Normalizer(
            self.mean[first:last], self.denominator[first:last], cut(self.low), cut(self.high),
            back, cut(self.shift),
        )  # fmt: skip

    @property
    def spread(self) -> Array:
        """The denominator on the way back."""
        return self.denominator if self.back is None else self.back


def identity(size: int) -> Normalizer:
    """The normalizer x -> x, float64 [size]."""
    return Normalizer(np.zeros(size), np.ones(size))


def side_by_side(parts: Sequence[Normalizer]) -> Normalizer:
    """Join several normalizers to one; each works on its own elements, in this order."""
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
    """Precompute mean and denominator from stored statistics.

    Args:
        formula: the formula.
        statistics: the stored arrays, by the file's keys.
        names: maps mean, std, var, ... to the keys of the file, if they differ.
        size: number of elements.
        file: where the statistics come from, for error messages.

    Raises:
        Refusal: a statistic is missing, has another length, is not finite, or leads to a division
            by 0.
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
    """The wanted statistics, each float64 [size]. If only var is stored, std is computed from it.

    The same applies to var if only std is stored.
    """
    problems: list[Problem | str] = []
    found: dict[str, Array] = {}
    for key in wanted:
        name = names.get(key, key)
        # A file may store std or var: convert if the other one is wanted.
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
            steps = values.size // size if size and values.size % size == 0 else 1
            per_step = f"the file may have {steps} steps of {size} numbers: choose one of them"
            remedy = per_step if steps > 1 else ""
            problems.append(Problem(file, name, expected, f"{values.size}", remedy))
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
