"""`check` compares the spec with the graph, and refuses models and files in our own words."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cli_rig
import numpy as np
import pytest
import yaml
from cli_rig import write_policy

from policy_runner.cli.main import main

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the model")


def _recurrent(folder: Path, **changes: Any) -> Path:
    """Write a policy with an LSTM whose states are h and c."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True, exist_ok=True)

    def tensor(name: str, shape: list[int]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    stored = {"w": np.zeros((1, 8, 2), np.float32), "r": np.zeros((1, 8, 2), np.float32),
              "axis": np.array([0]), "shape": np.array([1, 2])}  # fmt: skip
    nodes = [
        helper.make_node("Unsqueeze", ["obs", "axis"], ["x"]),
        helper.make_node("LSTM", ["x", "w", "r", "", "", "h", "c"], ["y", "h2", "c2"],
                         hidden_size=2),
        helper.make_node("Reshape", ["y", "shape"], ["action"]),
    ]  # fmt: skip
    states = {name: [1, 1, 2] for name in ("h", "c", "h2", "c2")}
    graph = helper.make_graph(
        nodes, "g", [tensor("obs", [1, 2]), tensor("h", states["h"]), tensor("c", states["c"])],
        [tensor("action", [1, 2]), tensor("h2", states["h2"]), tensor("c2", states["c2"])],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, folder / "policy.onnx")
    spec: dict[str, Any] = {
        "schema": "policy_runner/1", "name": "x", "model": {"file": "policy.onnx"},
        "control_dt": 0.02, "joint_names": ["hip", "knee"],
        "inputs": {"joints": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"}},
        "observation": [{"tensor": "obs", "normalization": "none",
                         "terms": [{"term": "joint_position", "input": "joints"}]}],
        "state": [{"input": "h", "output": "h2"}, {"input": "c", "output": "c2"}],
        "action": [{"tensor": "action",
                    "groups": [{"kind": "position", "joints": ["hip", "knee"]}]}],
        "last_action": "raw", **changes,
    }  # fmt: skip
    (folder / "policy.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    return folder


def _check(folder: Path, capsys: Any) -> tuple[int, str]:
    status = main(["check", str(folder)])
    said = capsys.readouterr()
    return status, said.out + said.err


def test_states_that_are_right_are_not_suspicious(tmp_path: Path, capsys: Any) -> None:
    status, said = _check(_recurrent(tmp_path), capsys)
    assert status == 0
    assert "look at" not in said


def test_exchanged_states_are_named(tmp_path: Path, capsys: Any) -> None:
    states = [{"input": "h", "output": "c2"}, {"input": "c", "output": "h2"}]
    status, said = _check(_recurrent(tmp_path, state=states), capsys)
    assert status == 1
    assert "state[0]: expected that 'h2' is the next value of 'h', got 'h' takes 'c2'" in said
    assert "state[1]: expected that 'c2' is the next value of 'c'" in said
    assert main(["inspect", str(tmp_path)]) == 0
    assert "look at state[0]: 'h' takes 'c2', and the graph shows" in capsys.readouterr().out


def test_a_state_that_is_fed_by_a_constant_is_named(tmp_path: Path, capsys: Any) -> None:
    observation = [
        {"tensor": "obs", "normalization": "none",
         "terms": [{"term": "joint_position", "input": "joints"}]},
        {"tensor": "c", "constant": 0.0},
    ]  # fmt: skip
    changes = {"observation": observation, "state": [{"input": "h", "output": "h2"}],
               "ignored_outputs": ["c2"]}  # fmt: skip
    status, said = _check(_recurrent(tmp_path, **changes), capsys)
    assert status == 1
    assert "observation[1]: expected a recurrent state whose next value is 'c2'" in said
    assert "fed by a constant" in said


def test_in_model_without_a_normalizer_is_doubted_only_if_the_graph_shows_it(
    tmp_path: Path, capsys: Any
) -> None:
    observation = cli_rig.spec()["observation"]
    observation[0]["normalization"] = "in_model"
    plain = write_policy(tmp_path / "plain", observation=observation)
    assert "never?" in _check(plain, capsys)[1]
    inside = write_policy(tmp_path / "inside", inside=True, observation=observation)
    assert "never?" not in _check(inside, capsys)[1]


def test_positions_in_degrees_are_marked(tmp_path: Path, capsys: Any) -> None:
    observation = [{
        "tensor": "obs", "terms": [{"term": "joint_position", "input": "joints"}],
        "normalization": {"preset": "lerobot_mean_std",
                          "statistics": {"mean": [30.5, -61.25], "std": [17.3, 21.1]}},
    }]  # fmt: skip
    limits = {"hip": {"lower": -90.0, "upper": 90.0}, "knee": {"lower": -1.5, "upper": 1.5}}
    folder = _recurrent(tmp_path, observation=observation, limits=limits)
    _, said = _check(folder, capsys)
    assert "observation[0].normalization: -61.25, which is 10 turns" in said
    assert "limits.hip: -90" in said
    assert "limits.knee" not in said
    assert said.count("degrees next to radians") == 2


def test_decimals_are_named_only_where_they_were_rounded(tmp_path: Path, capsys: Any) -> None:
    def said(gains: list[float]) -> str:
        names = [f"j{k}" for k in range(len(gains) - 2)]
        changes = {"joint_names": ["hip", "knee", *names], "stiffness": gains}
        observation = [{"tensor": "obs", "normalization": "none", "terms": [
            {"term": "joint_position", "input": "joints", "joints": ["hip", "knee"]}]}]  # fmt: skip
        return _check(_recurrent(tmp_path, observation=observation, **changes), capsys)[1]

    assert "at most 3 decimals" in said([40.179, 99.098, 28.501, 14.251])
    assert "at most 3 decimals" not in said([22.125, 0.375, 0.625, 0.075])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("ir", "ir_version: expected an ONNX file of IR version"),
        ("opset", "opset: expected an opset that the installed ONNX Runtime knows"),
        ("shapes", "expected a shape for every input and output, got none for obs"),
        ("batch", "the model has a fixed batch of 32"),
    ],
)
def test_models_are_refused_in_our_words(
    change: str, sentence: str, tmp_path: Path, capsys: Any
) -> None:
    import onnx

    folder = write_policy(tmp_path)
    model = onnx.load(folder / "toy.onnx")
    if change == "ir":
        model.ir_version = 99
    elif change == "opset":
        model.opset_import[0].version = 90
    elif change == "shapes":
        model.graph.input[0].type.tensor_type.ClearField("shape")
    else:
        for one in (model.graph.input[0], model.graph.output[0]):
            one.type.tensor_type.shape.dim[0].dim_value = 32
    onnx.save(model, folder / "toy.onnx")
    status, said = _check(folder, capsys)
    assert status == 1
    assert sentence in said
    assert "onnxruntime_src" not in said
    assert said.count("the model has a fixed batch of 32") == (2 if change == "batch" else 0)


def test_weights_that_are_a_pointer_are_refused(tmp_path: Path, capsys: Any) -> None:
    import onnx

    folder = write_policy(tmp_path)
    model = onnx.load(folder / "toy.onnx")
    onnx.save(model, folder / "toy.onnx", save_as_external_data=True, location="toy.onnx.data",
              size_threshold=0)  # fmt: skip
    assert _check(folder, capsys)[0] == 0
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 12345\n"
    (folder / "toy.onnx.data").write_text(pointer)
    status, said = _check(folder, capsys)
    assert status == 1
    assert "toy.onnx.data: expected weights of a model, got a Git LFS pointer to a file of " in said


def test_statistics_per_step_are_named_as_such(tmp_path: Path, capsys: Any) -> None:
    stats = {"observation.state": {"mean": [[0.0] * 2] * 3, "std": [[1.0] * 2] * 3}}
    (tmp_path / "stats.json").write_text(json.dumps(stats))
    normalization = {"preset": "lerobot_mean_std", "statistics": "stats.json",
                     "group": "observation.state"}  # fmt: skip
    observation = [{"tensor": "obs", "normalization": normalization,
                    "terms": [{"term": "joint_position", "input": "joints"}]}]  # fmt: skip
    status, said = _check(_recurrent(tmp_path, observation=observation), capsys)
    assert status == 1
    assert "got 6; the file may have 3 steps of 2 numbers" in said


def test_a_checksum_can_cover_the_weights(tmp_path: Path, capsys: Any) -> None:
    import onnx

    folder = write_policy(tmp_path / "policy")
    model = onnx.load(folder / "toy.onnx")
    onnx.save(model, folder / "toy.onnx", save_as_external_data=True, location="toy.onnx.data",
              size_threshold=0)  # fmt: skip
    assert main(["import", str(folder / "toy.onnx"), "-o", str(tmp_path / "new")]) == 0
    drafted = yaml.safe_load((tmp_path / "new" / "policy.yaml").read_text())["model"]
    assert list(drafted["data"]) == ["toy.onnx.data"]
    spec = yaml.safe_load((folder / "policy.yaml").read_text())

    def said(data: Any) -> tuple[int, str]:
        spec["model"]["data"] = data
        (folder / "policy.yaml").write_text(yaml.safe_dump(spec))
        capsys.readouterr()
        return _check(folder, capsys)

    assert said(drafted["data"])[0] == 0
    status, text = said({"toy.onnx.data": "0" * 64})
    assert status == 1
    assert (
        f"toy.onnx.data: sha256: expected {'0' * 64}, got {drafted['data']['toy.onnx.data']}"
        in text
    )
    status, text = said({"other.data": "0" * 64})
    assert status == 1
    assert "model.data: expected the weight files that the model names (toy.onnx.data)" in text


def test_a_csv_without_a_header_is_named_as_such(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "walk.csv").write_text("0.1,0.2\n0.3,0.4\n")
    observation = [{"tensor": "obs", "normalization": "none",
                    "terms": [{"term": "motion", "motion": "walk"}]}]  # fmt: skip
    motions = {"walk": {"file": "walk.csv", "dt": 0.02, "end": "hold"}}
    folder = _recurrent(tmp_path, observation=observation, motions=motions, inputs={})
    status, said = _check(folder, capsys)
    assert status == 1
    assert "got numbers only: the file has no header; `policy-runner convert motion`" in said
    (tmp_path / "walk.csv").write_text("hip,knee\n0.1,0.2\n0.3,0.4\n")
    assert _check(folder, capsys)[0] == 0
