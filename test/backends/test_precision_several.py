"""The precision check of several models compares the whole policy, each model at its own rate."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import several_rig
from several_rig import chain, recorded, switch, two_inputs

from policy_runner.backends import load as loading
from policy_runner.backends.decoded_policy import DecodedPolicy
from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.load import load_models
from policy_runner.backends.onnxruntime.cpu import OnnxRuntimeModel
from policy_runner.backends.precision_check import compare_with_cpu, cpu_models
from policy_runner.core.errors import Refusal
from policy_runner.core.spec import SpecFile, read_spec
from policy_runner.core.spec.parts import policies

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the models")


class Rounding(OnnxRuntimeModel):
    """A model on the CPU whose outputs are rounded to `step`, as if it ran in a low precision."""

    needs_precision_check = True
    step = 0.0

    def run(self) -> None:
        super().run()
        if self.step:
            for array in self.outputs.values():
                array[...] = np.round(array / self.step) * self.step


def rounding(file: str, step: float) -> Callable[..., Any]:
    """Return a loader whose model `file` rounds to `step`."""

    def load(_choice: Any, path: Path, _sha256: str, _spec: Path) -> Rounding:
        model = Rounding(path)
        model.step = step if path.name == file else 0.0
        return model

    return lambda _backend: load


def spec_of(folder: Path, content: dict[str, Any]) -> SpecFile:
    return read_spec(several_rig.write(folder, content))


def by_element() -> dict[str, Any]:
    """Return the spec of walk with history lengths per element next to the latent."""
    content = chain()
    (tensor,) = content["observation"]
    tensor["terms"] = [one for one in tensor["terms"] if one["term"] != "joint_velocity"]
    lengths = {"velocity_command": {"linear.*": 2, "angular.z": 1}, "joint_position": [1, 1]}
    tensor["history"] = {"stack": "term", "order": "oldest_first", "length": lengths,
                         "fill": "zeros"}  # fmt: skip
    tensor["normalization"]["on"] = "stacked"
    return content


def by_block() -> dict[str, Any]:
    """Return the spec of walk with blocks next to the latent."""
    content = by_element()
    (tensor,) = content["observation"]
    hip = {"terms": ["joint_position"], "stack": "element", "length": {"joint_position": {".*": 2}}}
    rest = {"terms": ["velocity_command", "encoder", "last_action"]}
    tensor["history"] = {"blocks": [hip, rest], "fill": "zeros"}
    return content


CASES = {"chain": chain, "switch": switch, "two_inputs": two_inputs, "by_element": by_element,
         "by_block": by_block}  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_the_same_models_do_not_differ(name: str, tmp_path: Path) -> None:
    spec_file = spec_of(tmp_path, CASES[name]())
    found = compare_with_cpu(cpu_models(spec_file), BackendChoice(), spec_file)
    assert found.largest == 0.0
    assert found.samples == 64 * (2 if name == "switch" else 1)


@pytest.mark.parametrize("name", list(CASES))
def test_an_error_of_the_encoder_is_an_error_of_the_action(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec_file = spec_of(tmp_path, CASES[name]())
    monkeypatch.setattr(loading, "_loader", rounding("encoder.onnx", 1e-4))
    facts = load_models(BackendChoice("onnxruntime"), spec_file).facts
    assert "actions differ by at most" in facts["precision check"]
    monkeypatch.setattr(loading, "_loader", rounding("encoder.onnx", 1.0))
    with pytest.raises(Refusal, match=r"precision check: expected actions within 0\.02"):
        load_models(BackendChoice("onnxruntime"), spec_file)


def test_each_policy_of_a_switch_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec_file = spec_of(tmp_path, switch())
    for file, element in (("stand.onnx", "stand: "), ("walk.onnx", "walk: ")):
        monkeypatch.setattr(loading, "_loader", rounding(file, 5.0))
        with pytest.raises(Refusal, match=f"at {element}"):
            load_models(BackendChoice("onnxruntime"), spec_file)


def test_recorded_observations_meet_the_loop_of_the_encoder(tmp_path: Path) -> None:
    """The encoder runs every third inference, and its latent replaces that of the sample."""
    spec_file = spec_of(tmp_path, two_inputs())
    (one,) = policies(spec_file.spec)
    decoded = DecodedPolicy(one, spec_file, cpu_models(spec_file))
    decoded.start()
    given, loop = recorded(30), several_rig.WalkLoop()
    for position, velocity in zip(given["position"], given["velocity"], strict=True):
        loop.push(position, velocity)
        sample = {
            "obs": (position - several_rig.DEFAULT).reshape(1, 2).astype(np.float32),
            "encoder/history": np.concatenate(loop.frames).reshape(1, -1).astype(np.float32),
        }
        loop.encode()
        both = np.concatenate([position - several_rig.DEFAULT, loop.latent])
        wanted = several_rig.DEFAULT + several_rig.SCALES["walk"] * (both @ several_rig.TWO_INPUTS)
        assert np.allclose(decoded.action(sample), wanted, atol=1e-5)
