"""Host arrays for a model's tensors: fixed shapes, batch 1, types that a tick can fill."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.core.errors import Problem
from policy_runner.core.model import Buffer

DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
REPEATED = "#"  # between a repeated output's name and its position


def allocate(
    path: Path,
    role: str,
    tensors: list[Any],
    problems: list[Problem],
    shapes: Sequence[Sequence[int]] | None = None,
) -> dict[str, Buffer]:
    """Allocate a zeroed array for each of a session's inputs or outputs.

    An open batch axis becomes 1: the first axis, and any axis that has the name of an open first
    axis, as in the state [layers, batch, hidden].

    Args:
        path: the model file, for messages.
        role: "input" or "output".
        tensors: the session's tensors; each has `name`, `type` and `shape`.
        problems: gets a problem for each tensor that cannot be allocated.
        shapes: the sizes that a run gave; None: those of `tensors`.

    Returns:
        Arrays by tensor name; a repeated output also as `name#position`, the same array.
    """
    arrays: dict[str, Buffer] = {}
    batch = {one.shape[0] for one in tensors if one.shape and isinstance(one.shape[0], str)}
    for k, tensor in enumerate(tensors):
        key = f"{role} '{tensor.name}'"
        if tensor.type not in DTYPES:
            expected = f"one of {', '.join(DTYPES)}"
            problems.append(Problem(str(path), key, expected, str(tensor.type)))
            continue
        shape: list[Any] = list(tensor.shape if shapes is None else shapes[k])
        # Only the batch dimension may be open: it is 1 on a robot. The name of a tensor's own first
        # axis is not the batch in a later one.
        known = batch - set(shape[:1])
        if shape and not isinstance(shape[0], int):
            shape[0] = 1
        shape = [1 if size in known else size for size in shape]
        if not all(isinstance(d, int) and d > 0 for d in shape):
            expected = "fixed sizes after the batch axis"
            problems.append(Problem(str(path), key, expected, f"{tensor.shape}"))
            continue
        if tensor.name in arrays and role == "output":
            arrays[f"{tensor.name}{REPEATED}{len(arrays)}"] = arrays[tensor.name]
            continue
        if tensor.name in arrays:
            problems.append(Problem(str(path), key, "every name once", "twice"))
            continue
        arrays[tensor.name] = np.zeros(shape, dtype=DTYPES[tensor.type])
    return arrays
