"""Compares a replay with a reference, element by element, within a tolerance.

Keys of a reference: the keys that `replay -o` writes (observation/TENSOR, raw, target, limited,
output/NAME), or a trainer's keys: expected_observation, expected_raw_action, expected_target
(with target_joint_names), expected_NAME and outNN__NAME for an output of the model, or NAME
itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from policy_runner.core.errors import refuse

Arrays = Mapping[str, np.ndarray]
_OUTPUT = re.compile(r"^out\d+__(.+)$")
EXPECTED = {"expected_raw_action": "raw", "expected_target": "target"}


@dataclass(frozen=True)
class Comparison:
    """Errors of one array [ticks, elements]; NaN if both sides have NaN.

    An `excess` above 0 is beyond the tolerance.
    """

    key: str
    error: np.ndarray
    excess: np.ndarray
    names: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether any element is beyond the tolerance, or has no counterpart."""
        return bool((self.excess > 0).any())

    @property
    def largest(self) -> np.ndarray:
        """Largest error of each element over all ticks."""
        return np.nan_to_num(self.error, nan=0.0).max(axis=0)

    @property
    def p99(self) -> np.ndarray:
        """99th percentile of each element's error over all ticks."""
        return np.percentile(np.nan_to_num(self.error, nan=0.0), 99, axis=0)

    def worst(self, count: int) -> list[int]:
        """Return the indices of the elements with the largest errors, worst first."""
        order = np.argsort(-self.largest, kind="stable")[:count]
        return [int(k) for k in order]


def pairs(result: Arrays, reference: Arrays) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return key of the result -> (result, reference), both [ticks, elements].

    A reference without the axis of ticks, or with another number of ticks, is compared with the
    last ticks of the result (for example a state at the end).
    """
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for key, array in reference.items():
        ours = _key(key, result)
        if ours is None or array.dtype.kind not in "fiub" or result[ours].dtype.kind not in "fiub":
            continue
        if key == "expected_target":
            array = _by_joint(array, reference, result)
        have = result[ours].reshape(len(result[ours]), -1).astype(np.float64)
        want = array.astype(np.float64).reshape(-1, have.shape[1]) if (
            array.size % have.shape[1] == 0) else None  # fmt: skip
        if want is None or len(want) > len(have):
            expected = f"{len(have)} rows of {have.shape[1]} elements, as '{ours}' has"
            raise refuse("", f"reference {key}", expected, f"shape {array.shape}")
        found[ours] = (have[len(have) - len(want) :], want)
    return found


def _key(key: str, result: Arrays) -> str | None:
    if key in ("t", "decision", "inferred", "kinds") or key.startswith("names/"):
        return None
    if key in result:
        return key
    if key in EXPECTED:
        return EXPECTED[key]
    if key == "expected_observation":
        observed = [name for name in result if name.startswith("observation/")]
        return observed[0] if observed else None
    match = _OUTPUT.match(key)
    name = match[1] if match else key.removeprefix("expected_")
    return f"output/{name}" if f"output/{name}" in result else None


def _by_joint(array: np.ndarray, reference: Arrays, result: Arrays) -> np.ndarray:
    if "target_joint_names" not in reference:
        return array
    theirs = [str(name) for name in reference["target_joint_names"]]
    kinds = reference.get("target_kind", result["kinds"])
    columns = []
    for joint, kind in zip(result["joint_names"], result["kinds"], strict=True):
        fits = [k for k, name in enumerate(theirs) if name == joint and str(kinds[k]) == kind]
        if len(fits) != 1:
            expected = f"one column for the {kind} of '{joint}'"
            raise refuse("", "reference target_joint_names", expected, f"{len(fits)}")
        columns.append(fits[0])
    return array[:, columns]


def compare(result: Arrays, reference: Arrays, atol: float, rtol: float) -> list[Comparison]:
    """Compare every array that both have.

    Args:
        result: arrays of the replay.
        reference: arrays of the reference.
        atol: absolute tolerance.
        rtol: relative tolerance, a factor of |reference|.

    Raises:
        Refusal: there is nothing to compare, or shapes do not match.
    """
    found = []
    for key, (have, want) in pairs(result, reference).items():
        nothing = np.isnan(have) & np.isnan(want)
        error = np.where(nothing, np.nan, np.abs(have - want))
        # NaN on only one side is an infinite error.
        error = np.where(np.isnan(error) & ~nothing, np.inf, error)
        excess = np.where(nothing, 0.0, error - (atol + rtol * np.abs(np.nan_to_num(want))))
        found.append(Comparison(key, error, excess, _names(key, have.shape[1], result)))
    if not found:
        got = ", ".join(reference) or "nothing"
        raise refuse("", "the reference", "observation, raw, target or outputs to compare", got)
    return found


def _names(key: str, count: int, result: Arrays) -> tuple[str, ...]:
    tensor = key.removeprefix("observation/")
    names = result.get(f"names/{tensor}" if tensor != key else "joint_names", np.zeros(0))
    if len(names) == count:
        return tuple(str(name) for name in names)
    return tuple(f"[{k}]" for k in range(count))
