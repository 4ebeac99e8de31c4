"""A trained network as a call that can be timed next to ONNX Runtime: one thread, no gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from policy_runner.export.graph.probes import make_ready, random_inputs
from policy_runner.export.sources.trained_policy import TrainedPolicy


def torch_call(
    policy: TrainedPolicy, rows: int, batch_first: bool
) -> tuple[Callable[[], object], list[np.ndarray[Any, np.dtype[Any]]]]:
    """The network's call in torch, and the same inputs for its exported graph.

    Sets torch to one thread for this process, as the runner's ONNX Runtime has.

    Args:
        rows: batch.
        batch_first: the graph has the batch as the first axis of its states, as an open batch is
            exported.
    """
    import torch

    make_ready(policy)
    torch.set_num_threads(1)
    axes = [0] * len(policy.inputs) + [state.batch_axis for state in policy.states]
    given = random_inputs(policy.arguments, rows, 1.0, batch_axes=axes)

    def call() -> object:
        with torch.inference_mode():
            return policy.module(*given)

    arrays = [
        np.ascontiguousarray(np.swapaxes(one.numpy(), 0, axis) if batch_first else one.numpy())
        for one, axis in zip(given, axes, strict=True)
    ]
    return call, arrays
