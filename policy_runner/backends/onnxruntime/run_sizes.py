"""Sizes of outputs that the file leaves open: the model runs twice, and tells them.

Exporters write a name in place of a number where their shape inference gave up, as in
`['batch_size', 'Tanhactions_dim_1']`, or one name for two axes, as in
`['batch_size', 'batch_size']`. Only the first axis may be the batch, which is 1 on a robot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.model import Buffer

_SEED = 3
Shapes = list[tuple[int, ...]]


def left_open(tensors: Sequence[Any]) -> bool:
    """Whether a size that is not the batch is open in one of a session's outputs.

    A single open axis may be the batch or the elements, so only a run tells.
    """
    return any(
        not isinstance(size, int) or size < 1
        for tensor in tensors
        for k, size in enumerate(tensor.shape)
        if k > 0 or len(tensor.shape) == 1
    )


def run_sizes(path: Path, session: Any, inputs: Mapping[str, Buffer]) -> Shapes:
    """The shapes of a session's outputs, in its order, for inputs of these shapes and types.

    Args:
        path: the model, for error messages.
        session: an ONNX Runtime session.
        inputs: arrays by name; they are not written.

    Raises:
        Refusal: the model does not run, or the shapes of two runs differ.
    """
    random = np.random.default_rng(_SEED)
    zeros = {name: np.zeros_like(array) for name, array in inputs.items()}
    drawn = {name: _drawn(array, random) for name, array in inputs.items()}
    try:
        first, second = (session.run(None, feeds) for feeds in (zeros, drawn))
    except Exception as error:  # ORT raises its own pybind types, one per status code
        text = " ".join(str(error).split())
        expected = "a model that runs, since its file leaves sizes of outputs open"
        raise refuse(str(path), "", expected, text, "export it with fixed sizes") from error
    names = [one.name for one in session.get_outputs()]
    for name, one, other in zip(names, first, second, strict=True):
        if np.shape(one) != np.shape(other):
            raise refuse(
                str(path), f"output '{name}'", "the same sizes in two runs",
                f"{list(np.shape(one))} and {list(np.shape(other))}",
                "a policy's outputs have fixed sizes; export it without the operation that"
                " selects elements",
            )  # fmt: skip
    return [tuple(int(size) for size in np.shape(one)) for one in first]


def cpu_run_sizes(path: Path, inputs: Mapping[str, Buffer]) -> Shapes:
    """As `run_sizes`, with a session of its own on the CPU.

    Raises:
        Refusal: see `run_sizes`.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return run_sizes(path, session, inputs)


def _drawn(array: Buffer, random: np.random.Generator) -> Buffer:
    if array.dtype.kind == "f":
        return random.standard_normal(array.shape).astype(array.dtype)
    # 0 and 1 are valid for most integers of a model: an index, a flag.
    return random.integers(0, 2, array.shape).astype(array.dtype)
