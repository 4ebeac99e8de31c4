"""The formulas that trainers normalize with, and their presets.

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
RunningMeanStd, skrl RunningStandardScaler, lerobot normalize_processor (1e-8 in place of a d of
0), openpi transforms. skrl and lerobot_mean_std have no eps on the way back, so they
lose eps / spread there. The way back does not clip.

Whether eps stands inside or outside the root, and how large it is, is part of the model:
with std 0.005 and x - mean = 0.01 the first four give 2.0, 0.67, 1.69 and 2.0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policy_runner.core.errors import Problem, Refusal
from policy_runner.core.spec.named_numbers import bounds_by_name
from policy_runner.core.spec.policy import Normalization

# Which statistics stand for low and high in the formulas that map to [-1, 1].
SPANS = {"min_max": ("min", "max"), "quantiles": ("q01", "q99"), "quantile10": ("q10", "q90")}


@dataclass(frozen=True)
class Formula:
    """Which statistics, where eps stands, and the clip afterwards."""

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
    """The preset with the spec's own keys over it.

    Raises:
        Refusal: no preset and a part of the formula is not said.
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
