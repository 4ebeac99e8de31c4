"""Published models on our backend give the stored outputs for the stored inputs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from golden_rig import POLICIES, needs_policies, signals_of

from policy_runner.backends.load import load_model
from policy_runner.backends.onnxruntime.cpu import OnnxRuntimeModel
from policy_runner.core.errors import Refusal

pytestmark = needs_policies


def _model(path: Path) -> OnnxRuntimeModel:
    return load_model("onnxruntime", path, None, path)


def _goldens() -> list[str]:
    found = POLICIES.glob("*/golden_*.npz") if POLICIES.is_dir() else []
    return sorted(f"{p.parent.name}/{p.name}" for p in found if "sequence" not in p.name)


def _allowed(reference: np.ndarray) -> np.ndarray:
    wide = reference.astype(np.float64)
    return np.asarray(1e-5 + 1e-5 * np.abs(wide))


@pytest.mark.parametrize("name", _goldens())
def test_every_output(name: str) -> None:
    path = POLICIES / name
    model = _model(path.with_name(path.name.removeprefix("golden_")).with_suffix(".onnx"))
    compared = 0
    with np.load(path) as stored:
        for key in stored.files:
            if key.startswith("in__"):
                model.inputs[key.removeprefix("in__")][...] = stored[key]
        model.run()
        for key in stored.files:
            match = re.match(r"out(\d+)__(.*)", key)
            if match:
                found, expected = list(model.outputs.values())[int(match[1])], stored[key]
                assert list(model.outputs)[int(match[1])] == match[2]
                assert found.shape == expected.shape
                assert found.dtype == expected.dtype
                error = np.abs(found.astype(np.float64) - expected.astype(np.float64))
                assert np.all(error <= _allowed(expected)), f"{key}: {error.max()}"
                compared += 1
    assert compared >= 1


def test_there_are_goldens() -> None:
    assert len(_goldens()) >= 10


def test_sequence_with_state() -> None:
    folder = POLICIES / "b2w-lstm"
    model = _model(folder / "policy_force_new.onnx")
    with np.load(folder / "golden_sequence20.npz") as stored:
        dropped = 0.0
        for k in range(len(stored["obs"])):
            model.inputs["obs"][...] = stored["obs"][k]
            model.run()
            for name, key in (("actions", "actions"), ("h_out", "h"), ("c_out", "c")):
                error = np.abs(model.outputs[name] - stored[key][k])
                assert np.all(error <= _allowed(stored[key][k])), f"{key} of step {k}"
            dropped = max(
                dropped,
                float(
                    np.abs(
                        model.outputs["actions"] - stored["actions_if_state_is_dropped"][k]
                    ).max()
                ),
            )
            model.inputs["h_in"][...] = model.outputs["h_out"]
            model.inputs["c_in"][...] = model.outputs["c_out"]
    assert dropped > 1e-2


@pytest.mark.parametrize("variant", ["policy_fp16_io16", "policy_fp16_io32"])
def test_half_precision_against_single(variant: str) -> None:
    single = _model(POLICIES / "lite3-ppo" / "policy.onnx")
    half = _model(POLICIES / "derived-lite3-fp16" / f"{variant}.onnx")
    worst, largest = 0.0, 0.0
    for observation in signals_of("lite3-ppo")["expected_observation"]:
        for model in (single, half):
            model.inputs["obs"][...] = observation
            model.run()
        reference = single.outputs["actions"]
        worst = max(worst, float(np.abs(half.outputs["actions"] - reference).max()))
        largest = max(largest, float(np.abs(reference).max()))
    assert 0.0 < worst <= 2e-3 * largest


@pytest.mark.parametrize(
    ("state", "published"),
    [([5, 5, 20], 0.0077), ([30, 10, 50], -2.1154), ([5, 20, 30], 1.5)],
)
def test_the_cars_published_values(state: list[float], published: float) -> None:
    model = _model(POLICIES / "rav4-cruise-cra" / "model.onnx")
    (given,), (result,) = model.inputs.values(), model.outputs.values()
    assert given.shape == (1, 3)  # the batch is symbolic
    given[...] = state
    model.run()
    assert round(float(result[0, 0]), 4) == published


def test_a_git_lfs_pointer_is_refused_by_name() -> None:
    with pytest.raises(Refusal) as caught:
        _model(POLICIES / "lfs-pointer-gnm" / "GNM.onnx")
    (problem,) = caught.value.problems
    assert "GNM.onnx" in str(problem)
    assert "Git LFS pointer" in str(problem)
    assert "34625735 bytes" in str(problem)
