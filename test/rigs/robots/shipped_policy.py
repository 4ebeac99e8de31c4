"""The shipped network and statistics as plain functions and arrays, for the handwritten loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from policy_runner.package_files import share_path


def shipped() -> Any:
    """Return the network as a function, the mean, and the variance."""
    import onnxruntime

    folder = share_path("models", "balancer")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        folder / "policy.onnx", options, providers=["CPUExecutionProvider"]
    )
    with np.load(folder / "statistics.npz", allow_pickle=False) as file:
        mean, var = file["mean"], file["var"]
    return lambda obs: session.run(["actions"], {"obs": obs})[0], mean, var
