"""`verify` against recorded outputs needs no torch: numbers, files and contract are compared."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from cli_rig import spec as toy_spec
from cli_rig import weights
from onnx import TensorProto, helper, numpy_helper

from policy_runner.cli.main import main
from policy_runner.core.errors import Refusal
from policy_runner.export.verify.verify_policy import verify_policy
from policy_runner.formats.own.exported import as_metadata, npz_bytes, set_digests

RANDOM = np.random.default_rng(8)
STATISTICS = {"mean": RANDOM.normal(0, 1, 13), "var": RANDOM.uniform(0.1, 2, 13)}
OBSERVATIONS = RANDOM.normal(0, 1, (40, 13))


def actions(observations: np.ndarray = OBSERVATIONS) -> np.ndarray:
    """What the trainer gave: normalized, times the weights, clipped."""
    scaled = (observations - STATISTICS["mean"]) / np.sqrt(STATISTICS["var"] + 1e-8)
    return np.clip(np.clip(scaled, -10, 10) @ weights().astype(np.float64), -1.0, 1.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as `export` writes it."""
    spec = toy_spec(model={"file": "policy.onnx"})
    spec["observation"][0]["normalization"] = {"preset": "sb3", "statistics": "statistics.npz"}
    spec["action"][0]["groups"][0]["clip_raw"] = [-1.0, 1.0]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["obs", "w"], ["actions"])], "toy",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [1, 13])],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(weights(), "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    found = as_metadata(
        spec, {"statistics.npz": STATISTICS}, {"opset": 18, "IR version": 8}
    )  # fmt: skip
    helper.set_model_props(model, found)
    (tmp_path / "policy").mkdir()
    onnx.save(model, tmp_path / "policy" / "policy.onnx")
    (tmp_path / "policy" / "statistics.npz").write_bytes(npz_bytes(STATISTICS))
    set_digests(spec, {})
    (tmp_path / "policy" / "policy.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    np.savez(tmp_path / "recorded.npz", **{"observation/obs": OBSERVATIONS,
                                           "action/actions": actions()})  # fmt: skip
    return tmp_path / "policy"


def change(folder: Path, key: str, value: object) -> None:
    spec = yaml.safe_load((folder / "policy.yaml").read_text())
    spec["action"][0]["groups"][0][key] = value
    (folder / "policy.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))


def test_recorded_outputs_are_met_without_torch(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["verify", str(folder), "--against", str(folder.parent / "recorded.npz"), "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    figures = {row["name"]: row for row in found["rows"]}
    assert figures["recorded (recorded.npz, 40)"]["figure"] < 1e-6
    assert figures["statistics are those of the model"]["outcome"] == "passed"
    assert "torch" not in sys.modules


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("clip_raw", [-0.3, 0.3], "clip_raw[0]: -0.3 for -1.0"),
        ("joints", ["knee", "hip"], "joints[0]: knee for hip"),
        ("scale", 0.26, "scale: 0.26 for 0.25"),
    ],
)
def test_a_changed_contract_is_named(folder: Path, key: str, value: object, told: str) -> None:
    change(folder, key, value)
    found = verify_policy(folder, folder.parent / "recorded.npz")
    row = next(r for r in found.rows if r.name == "policy.yaml is the model's contract")
    assert not found.passed
    assert told in row.text


def test_other_numbers_fail(folder: Path) -> None:
    recorded = folder.parent / "recorded.npz"
    wrong = actions()
    wrong[17, 1] += 1e-3
    np.savez(recorded, **{"observation/obs": OBSERVATIONS, "action/actions": wrong})
    (row,) = [r for r in verify_policy(folder, recorded).rows if r.outcome == "failed"]
    assert row.text == "actions, observation 17, step 17"


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"observation/obs": OBSERVATIONS}, "action/actions: expected an array"),
        ({"observation/obs": OBSERVATIONS, "action/actions": actions()[:3]}, "got 40 and 3"),
        ({"observation/obs": OBSERVATIONS[:0], "action/actions": actions()}, "one row or more"),
        ({"observation/obs": OBSERVATIONS[:, :9], "action/actions": actions()}, "[n, 13]"),
    ],
)
def test_recordings_that_do_not_fit(folder: Path, arrays: dict[str, np.ndarray], told: str) -> None:
    np.savez(folder.parent / "recorded.npz", **arrays)
    with pytest.raises(Refusal) as refused:
        verify_policy(folder, folder.parent / "recorded.npz")
    assert told in str(refused.value)


def test_the_largest_error_of_a_nan_is_no_pass(folder: Path) -> None:
    broken = OBSERVATIONS.copy()
    np.savez(folder.parent / "recorded.npz",
             **{"observation/obs": broken, "action/actions": np.full((40, 2), np.nan)})  # fmt: skip
    assert not verify_policy(folder, folder.parent / "recorded.npz").passed
