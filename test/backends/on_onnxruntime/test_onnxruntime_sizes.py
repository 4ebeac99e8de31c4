"""Sizes of outputs that only a run tells: found by two runs, refused if the runs differ."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import refused

from policy_runner.backends.load import load_model
from policy_runner.backends.onnxruntime.model_facts import read_model_facts

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the models")
WEIGHTS = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)


def write(path: Path, shape: list[Any], *last: str) -> Path:
    """Write a model obs [batch_size, 3] -> act = obs W, whose file states this shape of act.

    last: operations after the product; `NonZero` makes the size depend on the numbers.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    names = ["act", *(f"x{k}" for k in range(len(last)))][::-1]
    nodes = [helper.make_node("MatMul", ["obs", "weights"], [names[0]])]
    for k, operation in enumerate(last):
        inputs = [names[k], "axes"] if operation == "Squeeze" else [names[k]]
        attributes = {"to": TensorProto.FLOAT} if operation == "Cast" else {}
        nodes.append(helper.make_node(operation, inputs, [names[k + 1]], **attributes))
    stored = [numpy_helper.from_array(WEIGHTS, "weights")]
    if "Squeeze" in last:
        stored.append(numpy_helper.from_array(np.array([0]), "axes"))
    graph = helper.make_graph(
        nodes, "open",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["batch_size", 3])],
        [helper.make_tensor_value_info("act", TensorProto.FLOAT, shape)],
        stored,
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("shape", "last", "found"),
    [
        (["batch_size", "batch_size"], (), (1, 5)),
        (["batch_size", "Tanhact_dim_1"], ("Tanh",), (1, 5)),
        ([None, None], (), (1, 5)),
        (["Squeezeact_dim_0"], ("Squeeze",), (5,)),
        (["batch_size", 5], (), (1, 5)),
    ],
)
def test_open_sizes_are_those_of_a_run(
    shape: list[Any], last: tuple[str, ...], found: tuple[int, ...], tmp_path: Path
) -> None:
    path = write(tmp_path / "policy.onnx", shape, *last)
    model = load_model("onnxruntime", path, None, path)
    assert model.outputs["act"].shape == found
    obs = np.array([[1.0, -2.0, 0.5]], dtype=np.float32)
    np.copyto(model.inputs["obs"], obs)
    model.run()
    wanted = np.tanh(obs @ WEIGHTS) if "Tanh" in last else obs @ WEIGHTS
    assert np.allclose(model.outputs["act"], wanted.reshape(found), atol=1e-6)
    facts = read_model_facts(path).outputs[0]
    assert facts.size == 5
    assert facts.shape == (found if len(found) == 1 else (None, 5))  # the batch stays open


def test_sizes_that_differ_between_two_runs_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "policy.onnx", ["rank", "count"], "NonZero", "Cast")
    (problem,) = refused(load_model, "onnxruntime", path, None, path)
    assert "output 'act': expected the same sizes in two runs, got [2, 0] and [2, 5]" in problem
    assert read_model_facts(path).outputs[0].shape == (2, None)  # `inspect` shows it


def test_a_model_that_does_not_run_is_refused_with_the_reason(tmp_path: Path) -> None:
    import onnx

    path = write(tmp_path / "policy.onnx", ["batch_size", "any"])
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    onnx.save(model, path)
    (problem,) = refused(load_model, "onnxruntime", path, None, path)
    assert "policy.onnx" in problem


@pytest.mark.parametrize(("state", "found"), [([2, "batch", 3], (2, 1, 3)), ([2, "any", 3], None)])
def test_the_batch_of_a_state_may_be_a_later_axis(
    state: list[Any], found: tuple[int, ...] | None, tmp_path: Path
) -> None:
    import onnx
    from onnx import TensorProto, helper

    def tensor(name: str, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    nodes = [
        helper.make_node("Add", ["obs", "obs"], ["act"]),
        helper.make_node("Neg", ["h"], ["h_out"]),
    ]
    graph = helper.make_graph(
        nodes, "state", [tensor("obs", ["batch", 4]), tensor("h", state)],
        [tensor("act", ["batch", 4]), tensor("h_out", state)],
    )  # fmt: skip
    path = tmp_path / "policy.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    if found is None:
        (problem,) = refused(load_model, "onnxruntime", path, None, path)
        assert "input 'h': expected fixed sizes after the batch axis" in problem
        return
    model = load_model("onnxruntime", path, None, path)
    assert (model.inputs["h"].shape, model.outputs["h_out"].shape) == (found, found)
