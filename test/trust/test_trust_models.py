"""A file that a model names is found wherever it is named, and must be in the model's folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from policy_runner.backends.load import load_model
from policy_runner.backends.onnx_file.check import data_files, named_files
from policy_runner.backends.onnx_file.graph import (
    first_arithmetic,
    read_graph,
    stateless_recurrence,
)
from policy_runner.core.errors import Refusal


def _external(location: str) -> Any:
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def _initializer(location: str) -> Any:
    return _model([helper.make_node("Add", ["x", "w"], ["y"])], [_external(location)])


def _constant(location: str) -> Any:
    constant = helper.make_node("Constant", [], ["w"], value=_external(location))
    return _model([constant, helper.make_node("Add", ["x", "w"], ["y"])])


def _branch(location: str) -> Any:
    output = [helper.make_tensor_value_info("w", TensorProto.FLOAT, [2])]
    inner = helper.make_graph([], "inner", [], output, [_external(location)])
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    return _model([node])


def _function(location: str) -> Any:
    model = _model([helper.make_node("F", ["x"], ["y"], domain="own")])
    constant = helper.make_node("Constant", [], ["w"], value=_external(location))
    add = helper.make_node("Add", ["a", "w"], ["b"])
    opset = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "F", ["a"], ["b"], [constant, add], opset))
    return model


def _sparse(location: str) -> Any:
    model = _model([helper.make_node("Add", ["x", "w"], ["y"])])
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(_external(location))
    return model


def _model(nodes: list[Any], stored: list[Any] | None = None) -> Any:
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])  # noqa: E731
    graph = helper.make_graph(nodes, "g", [value("x")], [value("y")], stored or [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


PLACES = [_initializer, _constant, _branch, _function, _sparse]
NAMES = ["../secret.bin", "sub/../../secret.bin", "/etc/passwd", "a" * 200 + "/../../secret.bin"]


def _saved(folder: Path, model: Any) -> Path:
    path = folder / "policy" / "policy.onnx"
    path.parent.mkdir(exist_ok=True)
    (folder / "secret.bin").write_bytes(bytes(8))
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", NAMES)
def test_no_data_outside_the_folder(tmp_path: Path, place: Callable[[str], Any], name: str) -> None:
    path = _saved(tmp_path, place(name))
    for read in (data_files, lambda one: load_model("onnxruntime", one, None, one)):
        with pytest.raises(Refusal) as caught:
            read(path)
        assert [str(one) for one in caught.value.problems] == [
            f"{path}: external data: expected external data in the model's folder, got '{name}'"
        ]


@pytest.mark.parametrize("place", PLACES)
def test_data_inside_the_folder(tmp_path: Path, place: Callable[[str], Any]) -> None:
    path = _saved(tmp_path, place("weights.bin"))
    (path.parent / "weights.bin").write_bytes(bytes(8))
    assert data_files(path) == (path.parent / "weights.bin",)
    (path.parent / "weights.bin").unlink()
    (path.parent / "weights.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(Refusal, match="external data in the model's folder"):
        data_files(path)


def test_unusual_bytes_hide_no_name(tmp_path: Path) -> None:
    plain = _initializer("../secret.bin").SerializeToString()
    entry = b"\n\x08location\x12\x0d../secret.bin"
    assert plain.count(entry) == 1
    turned = plain.replace(entry, b"\x12\x0d../secret.bin\n\x08location")
    assert onnx.load_from_string(turned).graph.initializer[0].external_data[0].key == "location"
    for content in (plain, turned, b"\x2b\x2c" + turned):  # a group, which readers skip
        assert named_files(content) == ({"../secret.bin"}, False)


def test_an_engine_inside_a_model_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft", main_context=1)
    path = _saved(tmp_path, _model([node]))
    with pytest.raises(Refusal, match="a compiled engine"):
        load_model("onnxruntime", path, None, path)


def test_graphs_that_do_not_end(tmp_path: Path) -> None:
    begun = time.process_time()
    chain = [helper.make_node("Relu", [f"t{k}"], [f"t{k + 1}"]) for k in range(5000)]
    lstm = helper.make_node("LSTM", ["x", "w", "r", "", "", "t5000"], [])
    circle = [
        helper.make_node("Sub", ["p", "mean"], ["q"]),
        helper.make_node("Sub", ["q", "mean"], ["p"]),
    ]
    mean = numpy_helper.from_array(np.zeros(2, np.float32), "mean")
    model = _model([*chain, lstm, *circle], [mean])
    model.graph.input.add().name = "p"
    graph = read_graph(_saved(tmp_path, model))
    assert stateless_recurrence(graph) == ["LSTM ''"]
    assert first_arithmetic(graph)["p"] == ["Sub", "Sub"]
    path = tmp_path / "number.onnx"
    path.write_bytes(b"\x3a" + b"\xff" * 2_000_000)
    assert read_graph(path).nodes == []
    deep = b""
    for _ in range(3000):  # a graph in an attribute of a node of a graph ...
        deep = _field(1, _field(5, _field(6, deep)))
    path.write_bytes(_field(7, deep))
    assert read_graph(path).nodes == []
    assert named_files(path.read_bytes()) == (set(), False)
    assert time.process_time() - begun < 5.0


def _field(number: int, content: bytes) -> bytes:
    size, length = len(content), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content
