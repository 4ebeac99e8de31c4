"""What a graph tells about its states, its random nodes, its inputs and its normalizer."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_runner.backends.onnx_file.embedded_normalizer import embedded_statistics
from policy_runner.backends.onnx_file.graph import (
    Graph,
    first_arithmetic,
    read_graph,
    unshaped_tensors,
)
from policy_runner.backends.onnx_file.wiring import (
    recurrent_pairs,
    suspicious_nodes,
    unread_inputs,
    untouched_inputs,
)

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the model")
SIZE = 4
PATH = "model.onnx"


def _write(
    folder: Path, nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any],
    stored: dict[str, np.ndarray] | None = None, opset: int = 17, producer: str = "pytorch",
) -> Path:  # fmt: skip
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def tensor(name: str, shape: Any) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes, "g", [tensor(*one) for one in inputs.items()],
        [tensor(*one) for one in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (stored or {}).items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name=producer)
    onnx.save(model, folder / PATH)
    return folder / PATH


def _node(operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(operator, inputs, outputs, name=operator.lower(), **attributes)


def _read(*arguments: Any, **keys: Any) -> Graph:
    return read_graph(_write(*arguments, **keys))


LSTM_INPUTS = {"obs": [1, SIZE], "h": [1, 1, 2], "c": [1, 1, 2]}
LSTM_OUTPUTS = {"action": [1, 2], "c2": [1, 1, 2], "h2": [1, 1, 2]}
LSTM_WEIGHTS = {"w": np.zeros((1, 8, SIZE), np.float32), "r": np.zeros((1, 8, 2), np.float32),
                "axes": np.array([0]), "shape": np.array([1, 2])}  # fmt: skip


def lstm_nodes(twisted: bool = False) -> list[Any]:
    """Nodes of an LSTM policy; its states have no telling names, and go through other nodes."""
    first, second = ("cell", "hidden") if twisted else ("hidden", "cell")
    return [
        _node("Unsqueeze", ["obs", "axes"], ["x"]),
        _node("Identity", ["h"], ["hidden"]), _node("Identity", ["c"], ["cell"]),
        _node("LSTM", ["x", "w", "r", "", "", first, second], ["y", "yh", "yc"], hidden_size=2),
        _node("Identity", ["yh"], ["h2"]), _node("Identity", ["yc"], ["c2"]),
        _node("Reshape", ["y", "shape"], ["action"]),
    ]  # fmt: skip


def test_states_are_paired_by_the_recurrent_nodes(tmp_path: Path) -> None:
    given = (LSTM_INPUTS, LSTM_OUTPUTS, LSTM_WEIGHTS)
    assert recurrent_pairs(_read(tmp_path, lstm_nodes(), *given)) == [("h", "h2"), ("c", "c2")]
    twisted = _read(tmp_path, lstm_nodes(twisted=True), *given)
    assert recurrent_pairs(twisted) == [("h", "c2"), ("c", "h2")]


def test_states_of_two_layers_are_sliced_and_joined(tmp_path: Path) -> None:
    weights = {f"{name}{k}": np.zeros((1, 6, 2), np.float32) for k in (0, 1) for name in "wr"}
    bounds = {f"at{k}": np.array([k]) for k in range(3)}
    nodes = [
        _node("Unsqueeze", ["obs", "at0"], ["x"]),
        _node("Slice", ["h", "at0", "at1", "at0"], ["h0"]),
        _node("Slice", ["h", "at1", "at2", "at0"], ["h1"]),
        _node("GRU", ["x", "w0", "r0", "", "", "h0"], ["y0", "n0"], hidden_size=2,
              linear_before_reset=1),
        _node("Squeeze", ["y0", "at1"], ["y0s"]),
        _node("GRU", ["y0s", "w1", "r1", "", "", "h1"], ["y1", "n1"], hidden_size=2,
              linear_before_reset=1),
        _node("Concat", ["n0", "n1"], ["hn"], axis=0),
        _node("Squeeze", ["n1", "at0"], ["action"]),
    ]  # fmt: skip
    graph = _read(tmp_path, nodes, {"obs": [1, 2], "h": [2, 1, 2]},
                  {"action": [1, 2], "hn": [2, 1, 2]}, {**weights, **bounds})  # fmt: skip
    # The action is the state of the last layer; so two outputs carry its numbers.
    assert recurrent_pairs(graph) in ([("h", "hn")], [])
    assert suspicious_nodes(graph) == []


def test_a_gru_that_lost_its_reset_rule_is_named(tmp_path: Path) -> None:
    weights = {"w": np.zeros((1, 6, 2), np.float32), "r": np.zeros((1, 6, 2), np.float32),
               "at0": np.array([0])}  # fmt: skip

    def graph(producer: str, **attributes: int) -> Graph:
        nodes = [
            _node("Unsqueeze", ["obs", "at0"], ["x"]),
            _node("GRU", ["x", "w", "r", "", "", "h"], ["y", "hn"], hidden_size=2, **attributes),
            _node("Squeeze", ["y", "at0"], ["action"]),
        ]
        inputs = {"obs": [1, 2], "h": [1, 1, 2]}
        outputs = {"action": [1, 1, 2], "hn": [1, 1, 2]}
        return _read(tmp_path, nodes, inputs, outputs, weights, producer=producer)

    (said,) = suspicious_nodes(graph("pytorch"))
    assert "linear_before_reset 0" in said
    assert suspicious_nodes(graph("pytorch", linear_before_reset=1)) == []
    assert suspicious_nodes(graph("tf2onnx")) == []  # Keras' reset_after=False is 0


@pytest.mark.parametrize("operator", ["RandomNormalLike", "Bernoulli", "RandomUniformLike"])
def test_random_nodes_on_the_way_to_an_output_are_named(operator: str, tmp_path: Path) -> None:
    nodes = [_node(operator, ["obs"], ["noise"]), _node("Add", ["obs", "noise"], ["action"])]
    (said,) = suspicious_nodes(_read(tmp_path, nodes, {"obs": [1, 2]}, {"action": [1, 2]}))
    assert f"{operator} '{operator.lower()}' draws random numbers" in said
    unused = [_node(operator, ["obs"], ["noise"]), _node("Neg", ["obs"], ["action"])]
    assert suspicious_nodes(_read(tmp_path, unused, {"obs": [1, 2]}, {"action": [1, 2]})) == []


@pytest.mark.parametrize(("training", "named"), [(True, True), (False, False), (None, False)])
def test_dropout_in_training_mode_is_named(
    training: bool | None, named: bool, tmp_path: Path
) -> None:
    stored = {"ratio": np.array(0.5, np.float32)}
    if training is not None:
        stored["mode"] = np.array(training)
    names = ["obs", "ratio", *(["mode"] if training is not None else [])]
    nodes = [_node("Dropout", names, ["action"])]
    graph = _read(tmp_path, nodes, {"obs": [1, 2]}, {"action": [1, 2]}, stored)
    assert bool(suspicious_nodes(graph)) == named


def test_an_input_that_nothing_reads_is_named(tmp_path: Path) -> None:
    nodes = [_node("Neg", ["obs"], ["action"])]
    inputs = {"obs": [1, 2], "time_step": [1, 1], "through": [1, 1]}
    graph = _read(tmp_path, nodes, inputs, {"action": [1, 2], "through": [1, 1]})
    assert unread_inputs(graph) == ["time_step"]


NORMALIZERS = ("stored", "constant", "floats", "reshaped", "computed", "one element")


@pytest.mark.parametrize("form", NORMALIZERS)
def test_a_normalizer_is_found_in_every_form(form: str, tmp_path: Path) -> None:
    from onnx import numpy_helper

    size = 1 if form == "one element" else SIZE
    mean = np.linspace(0.5, 1.5, size).astype(np.float32)
    std = np.full(size, 2.0, np.float32)
    stored: dict[str, np.ndarray] = {"weights": np.ones((size, 2), np.float32)}
    nodes: list[Any] = []
    first = "obs"
    if form == "constant":
        for name, value in (("mean", mean), ("std", std)):
            nodes.append(_node("Constant", [], [name], value=numpy_helper.from_array(value)))
    elif form == "floats":
        for name, value in (("mean", mean), ("std", std)):
            nodes.append(_node("Constant", [], [name], value_floats=value.tolist()))
    else:
        stored.update(mean=mean, std=std)
    if form == "computed":
        stored.update(var=std**2, eps=np.array([0.0], np.float32))
        stored.pop("std")
        nodes += [_node("Add", ["var", "eps"], ["sum"]), _node("Sqrt", ["sum"], ["std"])]
    if form == "reshaped":
        stored["shape"] = np.array([1, size])
        nodes.append(_node("Reshape", ["obs", "shape"], ["flat"]))
        first = "flat"
    nodes += [_node("Sub", [first, "mean"], ["centred"]), _node("Div", ["centred", "std"], ["n"]),
              _node("MatMul", ["n", "weights"], ["action"])]  # fmt: skip
    path = _write(tmp_path, nodes, {"obs": [1, size]}, {"action": [1, 2]}, stored)
    graph = read_graph(path)
    assert first_arithmetic(graph) == {"obs": ["Sub", "Div"]}
    assert untouched_inputs(graph) == []
    if form != "computed":  # its numbers are in no file
        found_mean, found_std = embedded_statistics(path)["obs"]
        np.testing.assert_allclose(found_mean, mean)
        np.testing.assert_allclose(found_std, std)


def test_one_factor_is_no_normalizer_and_no_untouched_input(tmp_path: Path) -> None:
    stored = {"weights": np.ones((SIZE, 2), np.float32), "one": np.array([0.5], np.float32)}
    nodes = [_node("Mul", ["obs", "one"], ["n"]), _node("MatMul", ["n", "weights"], ["action"])]
    graph = _read(tmp_path, nodes, {"obs": [1, SIZE]}, {"action": [1, 2]}, stored)
    assert first_arithmetic(graph) == {}
    assert untouched_inputs(graph) == []


def test_weights_right_behind_an_input_are_known(tmp_path: Path) -> None:
    stored = {"weights": np.ones((SIZE, 2), np.float32), "shape": np.array([1, SIZE])}
    nodes = [_node("Reshape", ["obs", "shape"], ["flat"]),
             _node("MatMul", ["flat", "weights"], ["action"])]  # fmt: skip
    path = _write(tmp_path, nodes, {"obs": [1, 2, 2]}, {"action": [1, 2]}, stored)
    assert untouched_inputs(read_graph(path)) == ["obs"]
    assert unshaped_tensors(path) == []
    bare = _write(tmp_path, nodes, {"obs": None}, {"action": [1, 2]}, stored)
    assert unshaped_tensors(bare) == ["obs"]
