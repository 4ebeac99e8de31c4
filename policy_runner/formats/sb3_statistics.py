"""Statistics of Stable-Baselines3's VecNormalize, as a file that needs no SB3 to read.

Only from an object that is already in memory: a pickle is a program, and is not run here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.core.model import Array


def normalization_statistics(normalizer: Any) -> tuple[Array, Array]:
    """Mean and variance (float64, one value per observation) of a VecNormalize object.

    Duck-typed: `norm_obs`, `obs_rms.mean`, `obs_rms.var`. The formula that goes with them is
    clip((x - mean) / sqrt(var + epsilon), -clip_obs, clip_obs); `epsilon` and `clip_obs` belong
    into the policy's description.
    Raises ValueError when observations are not normalized, are a dict, or a number is unusable.
    """
    if not normalizer.norm_obs:
        raise ValueError("VecNormalize: norm_obs is false, so it has no observation statistics")
    if isinstance(normalizer.obs_rms, dict):
        keys = ", ".join(sorted(map(str, normalizer.obs_rms)))
        raise ValueError(f"VecNormalize: expected one observation vector, got a dict of {keys}")
    mean = np.array(normalizer.obs_rms.mean, dtype=np.float64)
    var = np.array(normalizer.obs_rms.var, dtype=np.float64)
    if mean.ndim != 1 or mean.shape != var.shape:
        raise ValueError(
            "VecNormalize: expected mean and var as vectors of one length, "
            f"got shapes {mean.shape} and {var.shape}"
        )
    if not (np.isfinite(mean).all() and np.isfinite(var).all() and (var >= 0).all()):
        raise ValueError("VecNormalize: expected finite means and variances of at least 0")
    return mean, var


def write_statistics(normalizer: Any, path: Path) -> None:
    """Write `mean` and `var` to an `.npz` that loads with `allow_pickle=False`."""
    mean, var = normalization_statistics(normalizer)
    with path.open("wb") as file:
        np.savez(file, mean=mean, var=var)
