"""Rounded numbers on a GPU are compared with the CPU's actions before they are accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_onnxruntime as fake
import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.load import load_model
from policy_runner.core.errors import Refusal

TF32: dict[str, Any] = {"onnxruntime.provider": "cuda", "onnxruntime.tf32": True}
TENSORRT: dict[str, Any] = {"onnxruntime.provider": "tensorrt", "onnxruntime.build": True}
JOINTS = ["hip", "knee"]


@pytest.fixture
def spec_path(tmp_path: Path) -> Path:
    """A policy that commands twice the joint velocities."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["obs", "w"], ["actions"])], "toy",
        [value("obs", TensorProto.FLOAT, [1, 2])], [value("actions", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(2 * np.eye(2, dtype=np.float32), "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "toy.onnx")
    spec = {
        "schema": "policy_runner/1", "name": "toy", "model": {"file": "toy.onnx"},
        "control_dt": 0.02, "joint_names": JOINTS,
        "inputs": {"joints": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"}},
        "observation": [{
            "tensor": "obs", "normalization": "none",
            "terms": [{"term": "joint_velocity", "input": "joints"}],
        }],
        "action": [{"tensor": "actions", "groups": [{"kind": "velocity", "joints": JOINTS}]}],
        "last_action": "raw",
    }  # fmt: skip
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


def _load(spec_path: Path, options: dict[str, Any], precision: str = "as_exported") -> Any:
    choice = BackendChoice("onnxruntime", "gpu", precision, options)
    return load_model(choice, spec_path.parent / "toy.onnx", None, spec_path)


@pytest.mark.parametrize(
    ("options", "precision"), [(TF32, "as_exported"), (TENSORRT, "as_exported"), (TENSORRT, "fp16")]
)
@pytest.mark.parametrize("error", [0.0, 0.025])
def test_actions_decide(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spec_path: Path,
    options: dict[str, Any], precision: str, error: float,
) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    there = fake.Machine(error=error)
    fake.install(monkeypatch, tmp_path, there)
    if error:
        with pytest.raises(Refusal, match="precision check: expected actions within 0"):
            _load(spec_path, options, precision)
        options = {**options, "precision_check.tolerance": 0.03}
    model = _load(spec_path, options, precision)
    assert "tolerance" in model.facts["precision check"]
    assert model.facts["precision"] == ("fp16" if precision == "fp16" else "as exported")
    assert there.sessions[-1].flags.get("trt_fp16_enable", "0") == str(int(precision == "fp16"))
    assert model.outputs["actions"].tolist() == [[0.0, 0.0]]


def test_full_precision_needs_no_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spec_path: Path
) -> None:
    fake.install(monkeypatch, tmp_path, fake.Machine())
    assert "precision check" not in _load(spec_path, {"onnxruntime.provider": "cuda"}).facts
