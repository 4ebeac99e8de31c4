"""Normalization with stored statistics, each trainer's own formula.

| preset   | formula                                      | source                              |
|----------|----------------------------------------------|-------------------------------------|
| sb3      | clip((x - mean) / sqrt(var + 1e-8), +-10)    | stable-baselines3 VecNormalize      |
| rsl_rl   | (x - mean) / (std + 1e-2)                    | rsl_rl EmpiricalNormalization       |
| rl_games | clip((x - mean) / sqrt(var + 1e-5), +-5)     | rl_games RunningMeanStd             |
| skrl     | clip((x - mean) / (sqrt(var) + 1e-8), +-5)   | skrl RunningStandardScaler          |

Whether eps stands inside or outside the root, and how large it is, is part of the model:
with std 0.005 and x - mean = 0.01 the presets give 2.0, 0.67, 1.69 and 2.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from policy_runner.core.frame_arithmetic import bounds
from policy_runner.core.problems import Problem, Refusal
from policy_runner.core.spec import Normalization

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Formula:
    """Which statistics, where eps stands, and the clip afterwards."""

    kind: str  # mean_std | mean_var
    eps: float
    eps_in_sqrt: bool
    low: float = -np.inf
    high: float = np.inf


PRESETS = {
    "sb3": Formula("mean_var", 1e-8, True, -10.0, 10.0),
    "rsl_rl": Formula("mean_std", 1e-2, False),
    "rl_games": Formula("mean_var", 1e-5, True, -5.0, 5.0),
    "skrl": Formula("mean_var", 1e-8, False, -5.0, 5.0),
}


@dataclass(frozen=True)
class Normalizer:
    """x -> clip((x - mean) / denominator, low, high), element by element, float64 [n]."""

    mean: Array
    denominator: Array
    low: float = -np.inf
    high: float = np.inf

    def normalize(self, x: Array, out: Array) -> None:
        """Write the normalized x, float64 [n], to out (which may be x)."""
        np.subtract(x, self.mean, out=out)
        np.divide(out, self.denominator, out=out)
        if self.low != -np.inf or self.high != np.inf:
            np.maximum(out, self.low, out=out)
            np.minimum(out, self.high, out=out)

    def denormalize(self, y: Array) -> Array:
        """The x that gives y, where y was not clipped; float64 [n]."""
        return np.asarray(y * self.denominator + self.mean, dtype=np.float64)


def resolve_formula(spec: Normalization, file: str, key: str) -> Formula:
    """The preset with the spec's own keys over it.

    Raises:
        Refusal: no preset and a part of the formula is not said.
    """
    base = PRESETS[spec.preset] if spec.preset else None
    if base is None:
        parts = {"formula": spec.formula, "eps": spec.eps, "eps_in_sqrt": spec.eps_in_sqrt}
        missing = [part for part, value in parts.items() if value is None]
        if missing:
            expected = f"`preset`, or all of {', '.join(parts)}"
            raise Refusal([Problem(file, key, expected, f"no {', '.join(missing)}")])
    low, high = (base.low, base.high) if base else (-np.inf, np.inf)
    if spec.clip is not None:
        low, high = (float(side[0]) for side in bounds(spec.clip, 1, file, f"{key}.clip"))
    return Formula(
        spec.formula or (base.kind if base else "mean_std"),
        spec.eps if spec.eps is not None else (base.eps if base else 0.0),
        spec.eps_in_sqrt if spec.eps_in_sqrt is not None else bool(base and base.eps_in_sqrt),
        low,
        high,
    )


def build_normalizer(
    formula: Formula,
    statistics: Mapping[str, Array],
    names: Mapping[str, str],
    size: int,
    file: str,
) -> Normalizer:
    """Precompute mean and denominator from stored statistics, for `size` elements.

    `names` maps mean, std, var to the keys of the file where they differ.

    Raises:
        Refusal: a statistic is missing, of another length, not finite, or gives a division by 0.
    """
    spread_key = "std" if formula.kind == "mean_std" else "var"
    other = "var" if spread_key == "std" else "std"
    problems = []
    found: dict[str, Array] = {}
    for key in ("mean", spread_key):
        name = names.get(key, key)
        # std and var say the same; which of the two a file stores is no matter of the formula.
        converted = key == spread_key and name not in statistics and key not in names
        if converted and names.get(other, other) in statistics:
            name = names.get(other, other)
        else:
            converted = False
        if name not in statistics:
            have = ", ".join(statistics) or "nothing"
            problems.append(Problem(file, name, "this statistic", f"only {have}"))
            continue
        values = statistics[name]
        if values.shape != (size,):
            wanted = f"{size} numbers, one per element of the observation"
            problems.append(Problem(file, name, wanted, f"{values.size}"))
        elif not np.all(np.isfinite(values)):
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            problems.append(Problem(file, f"{name}[{bad}]", "a finite number", f"{values[bad]}"))
        elif key == spread_key and np.any(values < 0):
            bad = int(np.flatnonzero(values < 0)[0])
            problems.append(Problem(file, f"{name}[{bad}]", "0 or more", f"{values[bad]}"))
        elif converted:
            found[key] = np.sqrt(values) if other == "var" else np.square(values)
        else:
            found[key] = values
    if problems:
        raise Refusal(problems)
    spread = found[spread_key]
    if formula.eps_in_sqrt:
        variance = spread if spread_key == "var" else np.square(spread)
        denominator = np.sqrt(variance + formula.eps)
    else:
        std = spread if spread_key == "std" else np.sqrt(spread)
        denominator = std + formula.eps
    if np.any(denominator == 0):
        bad = int(np.flatnonzero(denominator == 0)[0])
        expected = "a spread above 0 (eps is 0)"
        raise Refusal([Problem(file, f"{names.get(spread_key, spread_key)}[{bad}]", expected, "0")])
    return Normalizer(found["mean"], np.asarray(denominator), formula.low, formula.high)
