"""Small ONNX models with random weights that match the worked examples of the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def _save(
    path: Path,
    nodes: list[Any],
    inputs: dict[str, list[Any]],
    outputs: dict[str, list[Any]],
    stored: dict[str, np.ndarray],
) -> Path:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(n, FLOAT, shape) for n, shape in inputs.items()],
        [helper.make_tensor_value_info(n, FLOAT, shape) for n, shape in outputs.items()],
        [numpy_helper.from_array(array.astype(_kind(array)), n) for n, array in stored.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def _kind(array: np.ndarray) -> Any:
    return np.int64 if array.dtype.kind == "i" else np.float32


def _random(*shape: int, scale: float = 0.3) -> np.ndarray:
    seed = sum(shape) * 7 + len(shape)
    return np.random.default_rng(seed).normal(0, scale, shape)


def quadruped(folder: Path) -> Path:
    """obs [batch, 245] -> Sub, Div (a normalizer) -> a hidden layer -> actions [batch, 12]."""
    nodes = [
        helper.make_node("Sub", ["obs", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["normalized"]),
        helper.make_node("Gemm", ["normalized", "w1", "b1"], ["hidden"]),
        helper.make_node("Elu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "w2", "b2"], ["actions"]),
    ]
    stored = {
        "mean": _random(245), "std": 1.0 + np.abs(_random(245)),
        "w1": _random(245, 16), "b1": _random(16), "w2": _random(16, 12), "b2": _random(12),
    }  # fmt: skip
    return _save(
        folder / "policy.onnx", nodes, {"obs": ["batch", 245]}, {"actions": ["batch", 12]}, stored
    )


def wheeled_camera(folder: Path) -> Path:
    """image, state and temperature -> logits [1, 5] (with an unusual name) and value [1]."""
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["features"], strides=[8, 8]),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["seen"]),
        helper.make_node("Concat", ["seen", "state"], ["all"], axis=1),
        helper.make_node("Gemm", ["all", "w", "b"], ["scores"]),
        helper.make_node("Div", ["scores", "temperature"], ["/head/Div_output_0"]),
        helper.make_node("ReduceMax", ["scores"], ["value"], axes=[1], keepdims=0),
    ]
    stored = {
        "kernel": _random(6, 3, 8, 8, scale=0.2), "w": _random(48, 5, scale=2.0), "b": _random(5),
    }  # fmt: skip
    return _save(
        folder / "navigator.onnx",
        nodes,
        {"image": [1, 3, 64, 85], "state": [1, 42], "temperature": [1]},
        {"/head/Div_output_0": [1, 5], "value": [1]},
        stored,
    )


def recurrent(folder: Path) -> Path:
    """obs [1, 51] and an LSTM's state [1, 1, 8] -> actions [1, 12] and the next state."""
    nodes = [
        helper.make_node("Unsqueeze", ["obs", "first"], ["sequence"]),
        helper.make_node(
            "LSTM", ["sequence", "w", "r", "b", "", "h_in", "c_in"], ["", "h_out", "c_out"],
            hidden_size=8,
        ),
        helper.make_node("Squeeze", ["h_out", "first"], ["memory"]),
        helper.make_node("Gemm", ["memory", "w2", "b2"], ["actions"]),
    ]  # fmt: skip
    stored = {
        "first": np.array([0]), "w": _random(1, 32, 51, scale=0.5), "r": _random(1, 32, 8),
        "b": _random(1, 64), "w2": _random(8, 12, scale=1.0), "b2": _random(12),
    }  # fmt: skip
    state = {"h_in": [1, 1, 8], "c_in": [1, 1, 8]}
    return _save(
        folder / "policy.onnx",
        nodes,
        {"obs": [1, 51], **state},
        {"actions": [1, 12], "h_out": [1, 1, 8], "c_out": [1, 1, 8]},
        stored,
    )
