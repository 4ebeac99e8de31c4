"""Installs a fake GPU, CUDA binding and TensorRT, and writes small models to run on them."""

from __future__ import annotations

import importlib.machinery
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from fake_cuda import FakeLibrary, make_bindings, make_pycuda
from fake_gpu import THE_GPU, FakeGpu
from fake_tensorrt import make_tensorrt
from onnx import TensorProto, helper, numpy_helper

from policy_runner.backends.cuda import driver as cuda_driver_calls
from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.tensorrt.builder import build_engine
from policy_runner.backends.tensorrt.model import TensorRtModel, model_of_plan

RANDOM = np.random.default_rng(11)
W_OBS = RANDOM.normal(size=(5, 3)).astype(np.float32)
W_STATE = (RANDOM.normal(size=(3, 3)) * 0.3).astype(np.float32)


class GpuRig:
    """A machine: set up `gpu`, then call `plug` to install it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.gpu = FakeGpu()
        self.tensorrt: ModuleType | None = None
        self.pycuda: Any = None

    def plug(
        self, version: str | None = "10.3.0", binding: str | None = "pycuda", **gpu: Any
    ) -> GpuRig:
        """Install the GPU, one binding and one TensorRT; None leaves it out."""
        self.gpu = FakeGpu(**gpu)
        THE_GPU[:] = [self.gpu]
        absent: dict[str, ModuleType | None] = dict.fromkeys(
            ("tensorrt", "pycuda", "pycuda.driver", "cuda", "cuda.bindings", "cuda.bindings.driver")
        )
        if version is not None:
            self.tensorrt = absent["tensorrt"] = make_tensorrt(version)
        if binding in ("pycuda", "both"):
            absent["pycuda"], absent["pycuda.driver"] = make_pycuda()
            self.pycuda = absent["pycuda.driver"]
            self._patch.setattr(cuda_driver_calls, "driver_library", FakeLibrary)
        if binding in ("cuda.bindings", "both"):
            made = make_bindings()
            absent.update(zip(("cuda", "cuda.bindings", "cuda.bindings.driver"), made, strict=True))
        for name, module in absent.items():
            if module is not None:
                module.__spec__ = importlib.machinery.ModuleSpec(name, None)
            self._patch.setitem(sys.modules, name, module)
        return self

    def build(self, path: Path, precision: str = "as_exported", **options: Any) -> bytes:
        """Build an engine; TensorRT's log lines are dropped."""
        named = {f"tensorrt.{name}": value for name, value in options.items()}
        return build_engine(path, precision, named, lambda line: None)

    def load(self, path: Path, **options: Any) -> TensorRtModel:
        """Build, load and warm up a model."""
        named = {f"tensorrt.{name}": value for name, value in options.items()}
        choice = BackendChoice("tensorrt", options=named)
        model = model_of_plan(choice, path, "sha", self.build(path))
        model.warm_up()
        return model


def save(path: Path, nodes: list[Any], inputs: Any, outputs: Any, **weights: np.ndarray) -> Path:
    """Write a model of these nodes; inputs and outputs as {name: (shape, type)}."""
    infos = [
        [helper.make_tensor_value_info(name, kind, shape) for name, (shape, kind) in one.items()]
        for one in (inputs, outputs)
    ]
    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "small", *infos, stored)
    domains = {node.domain for node in nodes} - {""}
    opsets = [helper.make_opsetid("", 17)] + [helper.make_opsetid(one, 1) for one in domains]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def dense(path: Path, dtype: Any = np.float32, batch: Any = 1) -> Path:
    """act = tanh(obs @ W_OBS)."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("MatMul", ["obs", "w"], ["x"]),
        helper.make_node("Tanh", ["x"], ["act"]),
    ]
    return save(path, nodes, {"obs": ([batch, 5], kind)}, {"act": ([batch, 3], kind)},
                w=W_OBS.astype(dtype))  # fmt: skip


def recurrent(path: Path) -> Path:
    """z_next = tanh(obs @ W_OBS + z @ W_STATE), act = 2 * z_next; plus an integer input."""
    nodes = [
        helper.make_node("MatMul", ["obs", "w"], ["x"]),
        helper.make_node("MatMul", ["z", "u"], ["y"]),
        helper.make_node("Add", ["x", "y"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["z_next"]),
        helper.make_node("Cast", ["step"], ["scale"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["z_next", "scale"], ["act"]),
    ]
    return save(
        path, nodes,
        {"obs": ([1, 5], 1), "z": ([1, 3], 1), "step": ([1, 1], TensorProto.INT64)},
        {"z_next": ([1, 3], 1), "act": ([1, 3], 1)},
        w=W_OBS, u=W_STATE,
    )  # fmt: skip
