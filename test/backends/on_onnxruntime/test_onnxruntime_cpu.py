"""The ONNX Runtime backend on small models: right numbers, in place, one thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from policy_runner.backends.load import load_model
from policy_runner.backends.onnxruntime.cpu import OnnxRuntimeModel
from policy_runner.core.errors import Refusal

FLOAT = TensorProto.FLOAT
ELEMENT = {
    np.float16: TensorProto.FLOAT16,
    np.float32: FLOAT,
    np.float64: TensorProto.DOUBLE,
    np.int32: TensorProto.INT32,
    np.int64: TensorProto.INT64,
    np.bool_: TensorProto.BOOL,
}
RANDOM = np.random.default_rng(7)


def save(
    path: Path,
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    weights: dict[str, np.ndarray] | None = None,
) -> Path:
    """Save a checked model of these nodes."""
    initializers = [numpy_helper.from_array(w, name) for name, w in (weights or {}).items()]
    graph = helper.make_graph(nodes, "small", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def value(name: str, shape: list[Any], kind: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def dense(path: Path, dtype: Any = np.float32, batch: Any = 1) -> tuple[Path, Callable[..., Any]]:
    """Save tanh(obs @ w + b) with 5 inputs and 3 outputs; returns it and the numpy function."""
    w, b = RANDOM.normal(size=(5, 3)).astype(dtype), RANDOM.normal(size=3).astype(dtype)
    nodes = [
        helper.make_node("MatMul", ["obs", "w"], ["x"]),
        helper.make_node("Add", ["x", "b"], ["y"]),
        helper.make_node("Tanh", ["y"], ["act"]),
    ]
    kind = ELEMENT[dtype]
    save(path, nodes, [value("obs", [batch, 5], kind)], [value("act", [batch, 3], kind)],
         {"w": w, "b": b})  # fmt: skip
    return path, lambda x: np.tanh(x.astype(np.float64) @ w.astype(np.float64) + b)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float16, 4e-3), (np.float32, 1e-6), (np.float64, 1e-12)]
)
@pytest.mark.parametrize("batch", [1, "batch", None])
def test_numbers_like_numpy(tmp_path: Path, dtype: Any, tolerance: float, batch: Any) -> None:
    path, compute = dense(tmp_path / "policy.onnx", dtype, batch)
    model = load_model("onnxruntime", path, None, tmp_path / "policy.yaml")
    assert model.inputs["obs"].shape == (1, 5)
    assert model.outputs["act"].shape == (1, 3)
    assert model.inputs["obs"].dtype == model.outputs["act"].dtype == dtype
    for _ in range(5):
        x = RANDOM.normal(size=(1, 5)).astype(dtype)
        model.inputs["obs"][:] = x
        model.run()
        np.testing.assert_allclose(
            np.asarray(model.outputs["act"], float), compute(x), atol=tolerance
        )


def test_a_run_reads_and_writes_the_same_memory(tmp_path: Path) -> None:
    path, compute = dense(tmp_path / "policy.onnx")
    model = OnnxRuntimeModel(path)
    obs, act = model.inputs["obs"], model.outputs["act"]
    addresses = obs.ctypes.data, act.ctypes.data
    flat = obs.reshape(-1)
    for k in range(5):
        flat[:] = k
        model.run()
        assert model.inputs["obs"] is obs
        assert model.outputs["act"] is act
        assert (obs.ctypes.data, act.ctypes.data) == addresses
        np.testing.assert_allclose(np.asarray(act, float), compute(obs), atol=1e-6)
    bound = [ortvalue.data_ptr() for ortvalue in model._values]
    assert sorted(bound) == sorted(addresses)  # ONNX Runtime uses our arrays directly


def test_several_inputs_of_several_types(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["steps"], ["s"], to=FLOAT),
        helper.make_node("Cast", ["flag"], ["f"], to=FLOAT),
        helper.make_node("Cast", ["index"], ["i"], to=FLOAT),
        helper.make_node("Sum", ["obs", "s", "f", "i"], ["act"]),
    ]
    inputs = [
        value("obs", ["n", 2]),
        value("steps", [1, 1], TensorProto.INT64),
        value("flag", [1], TensorProto.BOOL),
        value("index", [], TensorProto.INT32),
    ]
    model = OnnxRuntimeModel(save(tmp_path / "m.onnx", nodes, inputs, [value("act", ["n", 2])]))
    assert {name: (a.shape, a.dtype.type) for name, a in model.inputs.items()} == {
        "obs": ((1, 2), np.float32),
        "steps": ((1, 1), np.int64),
        "flag": ((1,), np.bool_),
        "index": ((), np.int32),
    }
    model.inputs["obs"][:] = [[1, 2]]
    model.inputs["steps"][...] = 10
    model.inputs["flag"][...] = True
    model.inputs["index"][...] = 100
    model.run()
    assert model.outputs["act"].tolist() == [[112.0, 113.0]]


def test_recurrent_state_in_and_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["h", "obs"], ["h_out"]),
        helper.make_node("Mul", ["h_out", "two"], ["act"]),
    ]
    path = save(
        tmp_path / "m.onnx", nodes, [value("obs", [1, 2]), value("h", [1, 2])],
        [value("act", [1, 2]), value("h_out", [1, 2])], {"two": np.array([2], np.float32)},
    )  # fmt: skip
    model = load_model("auto", path, None, tmp_path)
    for k in range(1, 4):
        model.inputs["obs"][:] = [[1, 10]]
        model.run()
        assert model.outputs["act"].tolist() == [[2 * k, 20 * k]]
        np.copyto(model.inputs["h"], model.outputs["h_out"])


def test_warm_up_looks_at_shapes_only_and_leaves_zeros(tmp_path: Path) -> None:
    # 0 / 0 gives NaN, but the model is valid on real input.
    nodes = [helper.make_node("Div", ["obs", "obs"], ["act"])]
    path = save(tmp_path / "m.onnx", nodes, [value("obs", [1, 2])], [value("act", [1, 2])])
    model = load_model("onnxruntime", path, None, tmp_path)
    assert model.outputs["act"].tolist() == [[0, 0]]
    model.inputs["obs"][:] = 3
    model.run()
    assert model.outputs["act"].tolist() == [[1, 1]]


def test_one_thread_that_does_not_spin(tmp_path: Path) -> None:
    path, _ = dense(tmp_path / "policy.onnx")
    model = OnnxRuntimeModel(path)
    options = model._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.inter_op.allow_spinning") == "0"
    assert model._session.get_providers() == [model.provider] == ["CPUExecutionProvider"]
    threads = len(list(Path("/proc/self/task").iterdir()))
    several = [OnnxRuntimeModel(path) for _ in range(3)]
    for one in several:
        one.run()
    assert len(list(Path("/proc/self/task").iterdir())) == threads


def test_model_that_breaks_its_own_shapes(tmp_path: Path) -> None:
    # It states 2 outputs and gives 6: found during configure, not in the first tick.
    nodes = [helper.make_node("Reshape", ["obs", "shape"], ["act"])]
    graph = helper.make_graph(
        nodes, "g", [value("obs", [1, 6]), value("shape", [2], TensorProto.INT64)],
        [value("act", ["batch", 2])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    with pytest.raises(Refusal) as caught:
        load_model("onnxruntime", path, None, tmp_path)
    (problem,) = caught.value.problems
    assert f"{path}: expected a model that runs with the shapes that it states" in str(problem)
