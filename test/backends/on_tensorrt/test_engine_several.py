"""Engines of a policy with several models: one each, compared alone and together. No TensorRT."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import several_rig
from several_rig import chain, switch

from policy_runner.backends.engine_build import build_into_cache
from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.load import load_models
from policy_runner.backends.onnxruntime.cpu import OnnxRuntimeModel
from policy_runner.backends.tensorrt import builder as tensorrt_build
from policy_runner.backends.tensorrt import engine_store
from policy_runner.backends.tensorrt import model as tensorrt_backend
from policy_runner.backends.tensorrt import module as tensorrt_module
from policy_runner.core.errors import Refusal
from policy_runner.core.spec import read_spec

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the models")
CHOICE = BackendChoice("tensorrt")


class Engine(OnnxRuntimeModel):
    """The CPU's model in place of an engine, whose outputs are off by `off`."""

    off = 0.0

    def run(self) -> None:
        super().run()
        for array in self.outputs.values():
            array += np.float32(self.off)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Stands for TensorRT and the GPU; `off` is the error of an engine by the model's file."""
    made = SimpleNamespace(built=[], off={})

    def build_engine(path: Path, *_rest: Any) -> bytes:
        made.built.append(path.name)
        return b"plan of " + path.name.encode()

    def model_of_plan(_choice: Any, path: Path, sha256: str, plan: bytes) -> Engine:
        assert plan == b"plan of " + path.name.encode()
        model = Engine(path)
        model.provider = "tensorrt"
        model.sha256, model.off = sha256, made.off.get(path.name, 0.0)
        return model

    facts = tensorrt_module.MachineFacts("10.3.0", "Orin", "8.7", "12060")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tensorrt_module, "machine_facts", lambda *_: facts)
    monkeypatch.setattr(tensorrt_build, "build_engine", build_engine)
    for module in (tensorrt_backend, engine_store):
        monkeypatch.setattr(module, "model_of_plan", model_of_plan)
    return made


def test_every_model_gets_its_engine_once(machine: Any, tmp_path: Path) -> None:
    spec = several_rig.write(tmp_path / "policy", switch())
    lines: list[str] = []
    entries = build_into_cache(CHOICE, spec, lines.append)
    assert machine.built == ["stand.onnx", "encoder.onnx", "walk.onnx"]
    assert [one.facts["model"] for one in entries] == machine.built
    assert all(one.facts["check"]["largest"] == 0.0 for one in entries)
    assert "128 generated observations" in lines[-1]  # the whole policy, both of the switch
    again = build_into_cache(CHOICE, spec, lines.append)
    assert [one.path for one in again] == [one.path for one in entries]
    assert len(machine.built) == 3
    group = load_models(CHOICE, read_spec(spec))
    assert group.provider == "tensorrt"
    assert set(group.facts) >= {"precision check", "walk/encoder/sha256"}


def test_a_missing_engine_is_refused_by_its_model(machine: Any, tmp_path: Path) -> None:
    spec = several_rig.write(tmp_path / "policy", chain())
    with pytest.raises(Refusal) as caught:
        load_models(CHOICE, read_spec(spec))
    said = [str(problem) for problem in caught.value.problems]
    assert [Path(one.split(":")[0]).name for one in said] == ["encoder.onnx", "walk.onnx"]
    assert all(f"engine build {spec}" in one for one in said)


def test_an_engine_is_measured_alone_and_all_of_them_together(machine: Any, tmp_path: Path) -> None:
    spec = several_rig.write(tmp_path / "policy", chain())
    # Each of them keeps a tolerance of 0.02, together they do not.
    errors = {"encoder.onnx": 0.015, "walk.onnx": 0.018 / several_rig.SCALES["walk"]}
    machine.off = errors
    with pytest.raises(Refusal, match="precision check: expected actions within"):
        build_into_cache(CHOICE, spec, lambda _line: None)
    assert machine.built == ["encoder.onnx", "walk.onnx"]  # both were kept by themselves
    with pytest.raises(Refusal, match="precision check: expected actions within"):
        load_models(CHOICE, read_spec(spec))
    for name, error in errors.items():
        machine.off = {name: error}
        load_models(CHOICE, read_spec(spec))
    machine.off = {}
    entries = build_into_cache(CHOICE, spec, lambda _line: None)
    largest = [one.facts["check"]["largest"] for one in entries]
    assert largest[1] == pytest.approx(0.018, rel=1e-3)
    assert 0.0 < largest[0] < 0.02


def test_an_engine_that_is_too_far_off_is_not_kept(machine: Any, tmp_path: Path) -> None:
    spec = several_rig.write(tmp_path / "policy", chain())
    machine.off = {"encoder.onnx": 1.0}
    with pytest.raises(Refusal, match=r"encoder\.onnx: precision check"):
        build_into_cache(CHOICE, spec, lambda _line: None)
    machine.off = {}
    build_into_cache(CHOICE, spec, lambda _line: None)
    assert machine.built == ["encoder.onnx", "encoder.onnx", "walk.onnx"]
