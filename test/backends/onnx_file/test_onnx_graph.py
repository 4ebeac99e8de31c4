"""Facts read from a graph: recurrence without state, normalizers in the model, names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from policy_runner.backends.load import load_model
from policy_runner.backends.onnx_file.graph import (
    first_arithmetic,
    read_graph,
    stateless_recurrence,
)
from policy_runner.core.errors import Refusal

FLOAT = TensorProto.FLOAT
HIDDEN = 3


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int]],
    outputs: list[tuple[str, list[int]]],
    stored: dict[str, np.ndarray],
) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, FLOAT, shape) for n, shape in inputs.items()],
        [helper.make_tensor_value_info(n, FLOAT, shape) for n, shape in outputs],
        [numpy_helper.from_array(a, n) for n, a in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def _gru(path: Path, initial: str, more: list[onnx.NodeProto], **inputs: list[int]) -> Path:
    stored = {
        "w": np.ones((1, 3 * HIDDEN, 2), np.float32),
        "r": np.ones((1, 3 * HIDDEN, HIDDEN), np.float32),
        "zeros": np.zeros((1, 1, HIDDEN), np.float32),
        "hidden": np.array([HIDDEN], np.int64),
        "one": np.array([1], np.int64),
        "axis": np.array([0], np.int64),
    }
    node = helper.make_node(
        "GRU", ["x", "w", "r", "", "", initial], ["y", "h_out"], name="memory", hidden_size=HIDDEN
    )
    return _save(
        path,
        [*more, node],
        {"x": [1, 1, 2], **inputs},
        [("h_out", [1, 1, HIDDEN])],
        stored,
    )


def test_state_inputs_are_seen(tmp_path: Path) -> None:
    graph = read_graph(_gru(tmp_path / "m.onnx", "h_in", [], h_in=[1, 1, HIDDEN]))
    assert graph.inputs == ["x", "h_in"]
    assert stateless_recurrence(graph) == []


@pytest.mark.parametrize("initial", ["", "zeros"])
def test_recurrence_without_state_is_reported(tmp_path: Path, initial: str) -> None:
    graph = read_graph(_gru(tmp_path / "m.onnx", initial, []))
    assert stateless_recurrence(graph) == ["GRU 'memory'"]


def test_a_state_made_from_the_inputs_shape_is_none(tmp_path: Path) -> None:
    # The nodes that an exporter writes for `h = zeros(batch, hidden)`.
    more = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "axis"], ["batch"]),
        helper.make_node("Concat", ["one", "batch", "hidden"], ["dims"], axis=0),
        helper.make_node("ConstantOfShape", ["dims"], ["made"]),
    ]
    path = _gru(tmp_path / "m.onnx", "made", more)
    load_model("onnxruntime", path, None, path)
    assert stateless_recurrence(read_graph(path)) == ["GRU 'memory'"]


def test_a_normalizer_in_the_graph_is_seen(tmp_path: Path) -> None:
    mean = np.array([1, 2], np.float32)
    constant = helper.make_node("Constant", [], ["std"], value=numpy_helper.from_array(mean))
    nodes = [
        constant,
        helper.make_node("Sub", ["obs", "mean"], ["a"]),
        helper.make_node("Div", ["a", "std"], ["b"]),
        helper.make_node("Tanh", ["b"], ["act"]),
    ]
    path = _save(tmp_path / "m.onnx", nodes, {"obs": [1, 2]}, [("act", [1, 2])], {"mean": mean})
    assert first_arithmetic(read_graph(path)) == {"obs": ["Sub", "Div"]}


def test_a_first_layer_is_no_normalizer(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["obs", "w"], ["a"]),
        helper.make_node("Add", ["a", "b"], ["act"]),
    ]
    stored = {"w": np.eye(2, dtype=np.float32), "b": np.ones(2, np.float32)}
    path = _save(tmp_path / "m.onnx", nodes, {"obs": [1, 2]}, [("act", [1, 2])], stored)
    assert first_arithmetic(read_graph(path)) == {}


@pytest.mark.parametrize("content", [b"", b"no protobuf at all", b"\x3a\xff\xff\xff\xff\x0f"])
def test_what_is_no_model_has_no_graph(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert read_graph(path).nodes == []


def test_a_repeated_output_has_a_position(tmp_path: Path) -> None:
    path = _save(
        tmp_path / "m.onnx",
        [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["z"])],
        {"x": [1, 2]},
        [("y", [1, 2]), ("y", [1, 2]), ("z", [1, 2])],
        {},
    )
    model = load_model("onnxruntime", path, None, path)
    assert list(model.outputs) == ["y", "y#1", "z"]
    model.inputs["x"][...] = [[3, -4]]
    model.run()
    assert [array.tolist() for array in model.outputs.values()] == [[[-3, 4]], [[-3, 4]], [[3, 4]]]


def test_an_input_that_is_an_output(tmp_path: Path) -> None:
    path = _save(
        tmp_path / "m.onnx",
        [helper.make_node("Neg", ["x"], ["y"])],
        {"x": [1, 2]},
        [("y", [1, 2]), ("x", [1, 2])],
        {},
    )
    model = load_model("onnxruntime", path, None, path)
    model.inputs["x"][...] = [[3, -4]]
    model.run()
    assert model.outputs["y"].tolist() == [[-3, 4]]
    assert model.outputs["x"].tolist() == [[3, -4]]


def test_data_outside_the_models_folder(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    folder.mkdir()
    tensor = numpy_helper.from_array(np.eye(2, dtype=np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../elsewhere.data"
    (tmp_path / "elsewhere.data").write_bytes(np.eye(2, dtype=np.float32).tobytes())
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", FLOAT, [1, 2])],
        [tensor],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(Refusal) as caught:
        load_model("onnxruntime", path, None, path)
    assert "expected external data in the model's folder, got '../elsewhere.data'" in str(
        caught.value
    )
