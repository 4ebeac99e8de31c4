"""`check` compares the recurrent states of a spec with the graph, whatever nodes the cells have."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from policy_runner.backends.onnxruntime.model_facts import read_model_facts
from policy_runner.cli.main import main
from policy_runner.cli.state_wiring import doubtful_states
from policy_runner.core.spec import read_spec

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the models")
N = 3  # size of every state


def _gru(x: str, h: str, out: str) -> list[Any]:
    """A GRU cell of plain nodes: out = (1 - z) n + z h."""
    return [
        ("Concat", [x, h], f"{out}/xh"), ("MatMul", [f"{out}/xh", "wz"], f"{out}/z0"),
        ("Sigmoid", [f"{out}/z0"], f"{out}/z"), ("MatMul", [f"{out}/xh", "wn"], f"{out}/n0"),
        ("Tanh", [f"{out}/n0"], f"{out}/n"), ("Sub", ["one", f"{out}/z"], f"{out}/1z"),
        ("Mul", [f"{out}/1z", f"{out}/n"], f"{out}/new"), ("Mul", [f"{out}/z", h], f"{out}/old"),
        ("Add", [f"{out}/new", f"{out}/old"], out),
    ]  # fmt: skip


def _lstm(x: str, h: str, c: str, h_out: str, c_out: str) -> list[Any]:
    """An LSTM cell of plain nodes: c' = f c + i g, h' = o tanh(c')."""
    gates: list[Any] = [("Concat", [x, h], f"{h_out}/xh")]
    for gate, bend in (("i", "Sigmoid"), ("f", "Sigmoid"), ("o", "Sigmoid"), ("g", "Tanh")):
        gates += [("MatMul", [f"{h_out}/xh", "wz"], f"{h_out}/{gate}0"),
                  (bend, [f"{h_out}/{gate}0"], f"{h_out}/{gate}")]  # fmt: skip
    return [
        *gates, ("Mul", [f"{h_out}/f", c], f"{h_out}/fc"),
        ("Mul", [f"{h_out}/i", f"{h_out}/g"], f"{h_out}/ig"),
        ("Add", [f"{h_out}/fc", f"{h_out}/ig"], c_out), ("Tanh", [c_out], f"{h_out}/t"),
        ("Mul", [f"{h_out}/o", f"{h_out}/t"], h_out),
    ]  # fmt: skip


def _rnn(x: str, h: str, out: str) -> list[Any]:
    return [("Concat", [x, h], f"{out}/xh"), ("MatMul", [f"{out}/xh", "wz"], f"{out}/0"),
            ("Tanh", [f"{out}/0"], out)]  # fmt: skip


def _shift(x: str, past: str, out: str) -> list[Any]:
    """A history inside the model: the oldest number leaves, the newest one comes."""
    return [("Slice", [past, "from", "to", "axis"], f"{out}/kept"),
            ("Slice", [x, "zero", "from", "axis"], f"{out}/new"),
            ("Concat", [f"{out}/kept", f"{out}/new"], out)]  # fmt: skip


CELLS: dict[str, tuple[list[Any], list[str], str]] = {  # nodes, states in order, last output
    "two layers of GRU": ([*_gru("obs", "a", "A"), *_gru("A", "b", "B")], ["a", "b"], "B"),
    "LSTM": (_lstm("obs", "a", "b", "A", "B"), ["a", "b"], "A"),
    "two RNNs next to each other": (
        [*_rnn("obs", "a", "A"), *_rnn("obs", "b", "B"), ("Add", ["A", "B"], "sum")],
        ["a", "b"], "sum",
    ),
    "two layers of RNN": ([*_rnn("obs", "a", "A"), *_rnn("A", "b", "B")], ["a", "b"], "B"),
    "two histories": (
        [("Neg", ["obs"], "minus"), *_shift("obs", "a", "A"), *_shift("minus", "b", "B"),
         ("Add", ["A", "B"], "sum")], ["a", "b"], "sum",
    ),
    "two layers of LSTM": (
        [*_lstm("obs", "a", "b", "A", "B"), *_lstm("A", "c", "d", "C", "D")],
        ["a", "b", "c", "d"], "C",
    ),
}  # fmt: skip


def _write(folder: Path, nodes: list[Any], states: list[str], last: str) -> Path:
    """Write policy.onnx: obs and states -> action and the states' capitals."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(4)
    stored = {name: random.normal(size=(2 * N, N)).astype(np.float32) for name in ("wz", "wn")}
    stored |= {"one": np.ones(1, np.float32), "head": np.eye(N, 2, dtype=np.float32)}
    stored |= {"from": np.array([1]), "to": np.array([N]), "axis": np.array([1])}
    stored |= {"zero": np.array([0])}
    made = [
        helper.make_node(kind, given, [name], **({"axis": 1} if kind == "Concat" else {}))
        for kind, given, name in [*nodes, ("MatMul", [last, "head"], "action")]
    ]

    def info(names: list[str], size: int = N) -> list[Any]:
        return [helper.make_tensor_value_info(one, TensorProto.FLOAT, [1, size]) for one in names]

    graph = helper.make_graph(
        made, "cells", info(["obs", *states]),
        [*info(["action"], 2), *info([one.upper() for one in states])],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "policy.onnx")
    return folder


def _check(folder: Path, capsys: Any, states: list[Any], **changes: Any) -> tuple[int, str]:
    spec: dict[str, Any] = {
        "schema": "policy_runner/1", "name": "x", "model": {"file": "policy.onnx"},
        "control_dt": 0.02, "joint_names": ["a", "b", "c"],
        "inputs": {"joints": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"}},
        "observation": [{"tensor": "obs", "normalization": "none",
                         "terms": [{"term": "joint_position", "input": "joints"}]}],
        "state": [dict(zip(("input", "output"), pair[:2], strict=True), **dict(*pair[2:]))
                  for pair in states],
        "action": [{"tensor": "action", "groups": [{"kind": "position", "joints": ["a", "b"]}]}],
        "last_action": "raw",
    }  # fmt: skip
    spec["observation"] += changes.pop("constants", [])
    spec.update(changes)
    (folder / "policy.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    capsys.readouterr()
    status = main(["check", str(folder)])
    said = capsys.readouterr()
    return status, said.out + said.err


@pytest.mark.parametrize("cell", CELLS)
def test_exchanged_states_are_refused(cell: str, tmp_path: Path, capsys: Any) -> None:
    nodes, states, last = CELLS[cell]
    folder = _write(tmp_path, nodes, states, last)
    right: list[Any] = [(one, one.upper()) for one in states]
    status, said = _check(folder, capsys, right)
    assert status == 0
    assert "look at" not in said
    status, said = _check(folder, capsys, [("a", "B"), ("b", "A"), *right[2:]])
    assert status == 1
    assert "state[0]: expected that 'A' is the next value of 'a', got 'a' takes 'B'; fix it" in said
    assert "state[1]: expected that 'B' is the next value of 'b'" in said
    meant = {"deliberate": True}
    status, said = _check(folder, capsys, [("a", "B", meant), ("b", "A", meant), *right[2:]])
    assert status == 0
    assert "look at" not in said


def test_states_that_one_layer_mixes_are_not_judged(tmp_path: Path, capsys: Any) -> None:
    """Both states go through the same weights, so the graph does not tell which is which."""
    nodes = [
        ("Concat", ["obs", "a"], "oa"), ("MatMul", ["oa", "wz"], "m"), ("Concat", ["m", "b"], "mb"),
        ("MatMul", ["mb", "wn"], "k"), ("Tanh", ["k"], "A"), ("Sin", ["k"], "B"),
    ]  # fmt: skip
    folder = _write(tmp_path, nodes, ["a", "b"], "A")
    assert _check(folder, capsys, [("a", "B"), ("b", "A")])[0] == 0


CONSTANTS = {
    "two layers of GRU": (["b"], "[1]: expected a recurrent state whose next value is 'B'"),
    "LSTM": (["b"], "got 'b' is fed by a constant, so it is never carried"),
    "two layers of LSTM": (["a", "b", "c", "d"], "got 'd' is fed by a constant"),
}  # fmt: skip


@pytest.mark.parametrize("cell", CONSTANTS)
def test_a_constant_that_feeds_a_state_is_refused(cell: str, tmp_path: Path, capsys: Any) -> None:
    nodes, states, last = CELLS[cell]
    constants, expected = CONSTANTS[cell]
    folder = _write(tmp_path, nodes, states, last)
    kept = [(one, one.upper()) for one in states if one not in constants]
    ignored = [one.upper() for one in constants]

    def given(**keys: Any) -> list[dict[str, Any]]:
        return [{"tensor": one, "constant": 0.0, **keys} for one in constants]

    status, said = _check(folder, capsys, kept, constants=given(), ignored_outputs=ignored)
    assert status == 1
    assert expected in said
    status, said = _check(
        folder, capsys, kept, constants=given(deliberate=True), ignored_outputs=ignored
    )
    assert status == 0


def test_a_mask_and_a_normalized_input_are_no_states(tmp_path: Path, capsys: Any) -> None:
    nodes = [("Mul", ["obs", "a"], "masked"), ("Tanh", ["masked"], "last"),
             ("Sub", ["a", "one"], "A")]  # fmt: skip
    folder = _write(tmp_path, nodes, ["a"], "last")
    constants = [{"tensor": "a", "constant": 1.0}]
    status, said = _check(folder, capsys, [], constants=constants, ignored_outputs=["A"])
    assert status == 0
    assert "look at" not in said


def test_the_specs_of_the_documentation_are_not_doubted(tmp_path: Path) -> None:
    import several_rig
    import small_models

    examples = Path(__file__).parents[2] / "docs" / "reference" / "examples"
    for name in ("quadruped", "wheeled_camera", "recurrent"):
        folder = tmp_path / name
        folder.mkdir()
        model = getattr(small_models, name)(folder)
        spec = read_spec(examples / f"{name}.yaml")
        assert doubtful_states(spec, read_model_facts(model)) == []
    spec = read_spec(several_rig.write(tmp_path / "several", several_rig.switch()))
    assert doubtful_states(spec, read_model_facts(tmp_path / "several" / "stand.onnx")) == []


def test_an_import_names_what_may_be_a_state(tmp_path: Path, capsys: Any) -> None:
    nodes, states, last = CELLS["two layers of GRU"]
    folder = _write(tmp_path / "given", nodes, states, last)
    assert main(["import", str(folder / "policy.onnx"), "-o", str(tmp_path / "new")]) == 0
    said = capsys.readouterr().out
    assert "'a' and 'A' may be a recurrent state" in said
    assert "'b' and 'B' may be a recurrent state" in said
    assert "'a' and 'B'" not in said
