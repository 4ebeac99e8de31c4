"""A recurrent policy through the whole tick: the same actions on TensorRT as on ONNX Runtime."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fake_tensorrt import VERSIONS
from gpu_rig import GpuRig, save
from onnx import helper

from policy_runner.backends.load import load_model
from policy_runner.backends.several import ModelGroup
from policy_runner.core.pipeline.build import build_pipeline
from policy_runner.core.pipeline.pipeline import Pipeline
from policy_runner.core.safety.decision import Decision
from policy_runner.core.settings import CommandLimits, InputRule, Settings
from policy_runner.core.spec import read_spec

MS = 1_000_000
RANDOM = np.random.default_rng(2)
SPEC = {
    "schema": "policy_runner/1",
    "name": "recurrent",
    "model": {"file": "policy.onnx"},
    "control_dt": 0.01,
    "joint_names": ["a", "b"],
    "inputs": {"joints": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"}},
    "observation": [
        {
            "tensor": "obs",
            "terms": [{"term": "joint_velocity", "input": "joints"}],
            "normalization": "none",
        }
    ],
    "state": [{"input": "z", "output": "z_next"}],
    "action": [{"tensor": "act", "groups": [{"kind": "velocity", "joints": ["a", "b"]}]}],
    "last_action": "raw",
}


def make_model(path: Path) -> Path:
    """z_next = 0.9 z + obs, act = 0.01 z_next: a slow state, so that a lost state is visible."""
    nodes = [
        helper.make_node("Mul", ["z", "k"], ["kept"]),
        helper.make_node("Add", ["kept", "obs"], ["z_next"]),
        helper.make_node("Mul", ["z_next", "s"], ["act"]),
    ]
    two = ([1, 2], 1)
    return save(path, nodes, {"obs": two, "z": two}, {"z_next": two, "act": two},
                k=np.float32([0.9]), s=np.float32([0.01]))  # fmt: skip


def pipeline_of(folder: Path, model: Any, content: dict[str, Any] | None = None) -> Pipeline:
    (folder / "policy.yaml").write_text(yaml.safe_dump(content or SPEC))
    spec_file = read_spec(folder / "policy.yaml")
    settings = Settings(
        period_ns=10 * MS,
        decimation=1,
        inputs={"joints": InputRule(100 * MS)},
        limits=CommandLimits.none(2),
        hold_recover_ns=0,
    )
    pipeline = build_pipeline(spec_file, model, settings, {}, time.perf_counter_ns)
    pipeline.activate()
    return pipeline


def drive(pipeline: Pipeline, velocities: np.ndarray) -> list[np.ndarray]:
    """Return the actions of a run with a pause in the middle, after which the state is reset."""
    actions = []
    now = 0
    slot = pipeline.slots["joints"]
    assert slot.joints is not None
    for k, velocity in enumerate(velocities):
        now += 10 * MS if k != len(velocities) // 2 else 60_000 * MS
        slot.joints.merge(["a", "b"], {"velocity": velocity.tolist()}, now)
        slot.received(now, now)
        step = pipeline.step(now)
        assert step.decision is Decision.RUN
        actions.append(pipeline.raw_action.copy())
    return actions


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("integrated", [True, False])
def test_actions_like_onnx_runtimes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, integrated: bool
) -> None:
    rig = GpuRig(monkeypatch).plug(version, integrated=integrated)
    path = make_model(tmp_path / "policy.onnx")
    model = rig.load(path)
    on_gpu = pipeline_of(tmp_path, model)
    assert model.facts["states"] == "on the GPU"
    on_cpu = pipeline_of(tmp_path, load_model("onnxruntime", path, None, tmp_path / "policy.yaml"))
    velocities = RANDOM.normal(size=(20, 2))
    for _ in range(2):
        np.testing.assert_allclose(drive(on_gpu, velocities), drive(on_cpu, velocities), atol=1e-6)
        for pipeline in (on_gpu, on_cpu):
            pipeline.activate()
    states = [array for name, array in model.inputs.items() if name == "z"]
    untouched = states[0].copy()
    on_gpu.reset()
    np.testing.assert_array_equal(states[0], untouched)  # a reset only sets a flag


def test_a_second_pipeline_takes_the_states_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = GpuRig(monkeypatch).plug().load(make_model(tmp_path / "policy.onnx"))
    velocities = RANDOM.normal(size=(6, 2))
    first = drive(pipeline_of(tmp_path, model), velocities)
    np.testing.assert_array_equal(drive(pipeline_of(tmp_path, model), velocities), first)


def test_a_constant_input_survives_the_binding_of_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To bind states the model warms up again, which leaves zeros in its inputs."""
    nodes = [
        helper.make_node("Mul", ["z", "k"], ["kept"]),
        helper.make_node("Add", ["kept", "obs"], ["z_next"]),
        helper.make_node("Mul", ["z_next", "gain"], ["act"]),
    ]
    two = ([1, 2], 1)
    path = save(tmp_path / "policy.onnx", nodes, {"obs": two, "z": two, "gain": two},
                {"z_next": two, "act": two}, k=np.float32([0.9]))  # fmt: skip
    content = {**SPEC, "observation": [*SPEC["observation"], {"tensor": "gain", "constant": 3.0}]}  # type: ignore[misc]
    on_gpu = pipeline_of(tmp_path, GpuRig(monkeypatch).plug().load(path), content)
    cpu = load_model("onnxruntime", path, None, tmp_path / "policy.yaml")
    on_cpu = pipeline_of(tmp_path, cpu, content)
    velocities = RANDOM.normal(size=(6, 2))
    wanted = drive(on_cpu, velocities)
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(drive(on_gpu, velocities), wanted, atol=1e-6)


def test_every_model_of_a_chain_carries_its_states_on_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = ([1, 2], 1)
    make_model(tmp_path / "encoder.onnx")
    nodes = [
        helper.make_node("Mul", ["m", "k"], ["kept"]),
        helper.make_node("Add", ["kept", "latent"], ["m_next"]),
        helper.make_node("Add", ["m_next", "obs"], ["act"]),
    ]
    save(tmp_path / "policy.onnx", nodes, {"obs": two, "latent": two, "m": two},
         {"m_next": two, "act": two}, k=np.float32([0.5]))  # fmt: skip
    observation: Any = SPEC["observation"]
    part = {"file": "encoder.onnx", "every": 2, "observation": observation,
            "state": [{"input": "z", "output": "z_next"}]}  # fmt: skip
    latent = {"term": "model_output", "model": "encoder", "tensor": "act"}
    content = {
        **SPEC,
        "models": {"encoder": part},
        "observation": [*observation, {"tensor": "latent", "whole": latent}],
        "state": [{"input": "m", "output": "m_next"}],
    }
    rig = GpuRig(monkeypatch).plug()
    files = {"": tmp_path / "policy.onnx", "encoder": tmp_path / "encoder.onnx"}
    spec_path = tmp_path / "policy.yaml"
    on_gpu = ModelGroup({name: rig.load(path) for name, path in files.items()})
    on_cpu = ModelGroup(
        {n: load_model("onnxruntime", path, None, spec_path) for n, path in files.items()}
    )
    first, second = (pipeline_of(tmp_path, group, content) for group in (on_gpu, on_cpu))
    assert on_gpu.facts.keys() >= {"device", "encoder/device"}
    assert all(model.facts["states"] == "on the GPU" for model in on_gpu.parts.values())
    velocities = RANDOM.normal(size=(12, 2))
    np.testing.assert_allclose(drive(first, velocities), drive(second, velocities), atol=1e-6)
    on_gpu.close()
