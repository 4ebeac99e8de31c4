"""Writes the statistics of Stable-Baselines3's VecNormalize to a file that is read without SB3.

The VecNormalize object is in memory, or a separate process reads it from a pickle: a pickle is a
program; it is not loaded here.
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.model import Array
from policy_runner.formats import sb3_pickle


def normalization_statistics(normalizer: Any) -> tuple[Array, Array]:
    """Return mean and variance of a VecNormalize object, float64, one value per observation.

    VecNormalize computes clip((x - mean) / sqrt(var + epsilon), -clip_obs, clip_obs). `epsilon`
    and `clip_obs` are not returned; write them into the policy spec.

    Args:
        normalizer: any object with `norm_obs`, `obs_rms.mean` and `obs_rms.var`.

    Raises:
        ValueError: observations are not normalized or are a dict, or a number is not usable.
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
    """Write `mean` and `var` to an `.npz` that numpy loads with `allow_pickle=False`."""
    mean, var = normalization_statistics(normalizer)
    with path.open("wb") as file:
        np.savez(file, mean=mean, var=var)


def read_pickle(path: Path) -> dict[str, np.ndarray]:
    """The arrays of the pickle, read by a process of its own that knows nothing but arrays.

    Raises:
        Refusal: the process refused the pickle, or died of it.
    """
    script = sb3_pickle.__file__
    done = subprocess.run(
        [sys.executable, "-I", script, str(path.resolve())],
        capture_output=True, stdin=subprocess.DEVNULL, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        why = done.stderr.decode("utf-8", "replace").strip().splitlines()
        got = why[-1] if why else f"a reader that ended with {done.returncode}"
        remedy = "only numbers, Stable-Baselines3's and gym's classes are read"
        raise refuse(str(path), "", "a pickled VecNormalize", got, remedy)
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
