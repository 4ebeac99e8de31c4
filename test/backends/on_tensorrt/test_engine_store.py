"""Lookup and build of engines: the key, the messages, and the stored facts, without TensorRT."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from policy_runner.backends.engine_build import build_into_cache, estimate
from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.onnx_file.graph import input_shapes
from policy_runner.backends.onnxruntime.cpu import OnnxRuntimeModel
from policy_runner.backends.tensorrt import (
    builder as tensorrt_build,
)
from policy_runner.backends.tensorrt import (
    engine_store,
)
from policy_runner.backends.tensorrt import (
    model as tensorrt_backend,
)
from policy_runner.backends.tensorrt import (
    module as tensorrt_module,
)
from policy_runner.backends.tensorrt.engine_store import (
    build_command,
    cached_engine,
    key_of,
    open_cache,
    stored_engine,
)
from policy_runner.core.errors import Refusal, refuse
from policy_runner.package_files import share_path
from policy_runner.robot.parameters.backend import BACKEND_TABLE

SPEC = share_path("models", "balancer", "policy.yaml")
MODEL = share_path("models", "balancer", "policy.onnx")


class Off(OnnxRuntimeModel):
    """The model on the CPU, with an error of 0.1 in every action before scaling."""

    def run(self) -> None:
        super().run()
        for array in self.outputs.values():
            array += np.float32(0.1)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Replaces TensorRT and the GPU; a test may change its attributes."""
    made = SimpleNamespace(
        facts=tensorrt_module.MachineFacts("10.3.0", "Orin", "8.7", "12060"),
        model=OnnxRuntimeModel, builds=0, gpus=[], bindings=[],
    )  # fmt: skip

    def machine_facts(gpu: int, binding: str) -> Any:
        made.gpus.append(gpu)
        made.bindings.append(binding)
        return made.facts

    def build_engine(path: Path, *_rest: Any) -> bytes:
        made.builds += 1
        return b"plan of " + path.name.encode()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tensorrt_module, "machine_facts", machine_facts)
    monkeypatch.setattr(tensorrt_build, "build_engine", build_engine)
    monkeypatch.setattr(
        tensorrt_backend, "model_of_plan", lambda _choice, path, _sha, _plan: made.model(path)
    )
    return made


def choice(precision: str = "as_exported", device: str = "auto", **options: Any) -> BackendChoice:
    names = {name.replace("__", "."): value for name, value in options.items()}
    return BackendChoice("tensorrt", device, precision, names)


def build(one: BackendChoice, log: Callable[[str], None] = lambda _line: None) -> Any:
    (entry,) = build_into_cache(one, SPEC, log)
    return entry


def test_every_ingredient_reaches_the_key(machine: Any, tmp_path: Path) -> None:
    base = key_of(choice(), MODEL)
    assert base == key_of(choice(engines__folder="/x", precision_check__tolerance=1.0), MODEL)
    changed = tmp_path / "other.onnx"
    changed.write_bytes(MODEL.read_bytes() + b"\x1a\x00")
    others = [
        key_of(choice("fp16"), MODEL),
        key_of(choice(tensorrt__tf32=True), MODEL),
        key_of(choice(), changed),
    ]
    for name in ("tensorrt", "gpu", "compute", "driver"):
        machine.facts = replace(machine.facts, **{name: "other"})
        others.append(key_of(choice(), MODEL))
    digests = {key.digest() for key in (base, *others)}
    assert len(digests) == len(others) + 1


def test_the_gpu_that_is_asked_for_is_the_one_that_is_looked_at(machine: Any) -> None:
    for device in ("auto", "gpu", "gpu:1"):
        key_of(choice(device=device), MODEL)
    key_of(choice(tensorrt__cuda_binding="cuda.bindings"), MODEL)
    assert machine.gpus == [0, 0, 1, 0]
    assert machine.bindings == ["auto", "auto", "auto", "cuda.bindings"]


def test_a_missing_engine_is_refused_with_the_command(machine: Any, tmp_path: Path) -> None:
    one = choice("fp16", "gpu:1", tensorrt__tf32=True, engines__folder=str(tmp_path / "my engines"))
    assert cached_engine(one, MODEL) is None
    with pytest.raises(Refusal) as refused:
        stored_engine(one, MODEL, SPEC)
    text = str(refused.value)
    assert text.startswith(f"{MODEL}: expected a TensorRT engine that was built on this machine")
    assert "or set build_in_configure: true" in text
    command = shlex.split(text.split("`")[1])
    assert command == [
        "policy-runner", "engine", "build", str(SPEC), "--set", "precision=fp16", "--set",
        "device=gpu:1", "--set", f"engines.folder={tmp_path / 'my engines'}", "--set",
        "tensorrt.tf32=true",
    ]  # fmt: skip


def test_the_command_names_only_what_differs(machine: Any) -> None:
    one = choice(tensorrt__tf32=False, tensorrt__workspace=64, engines__folder="")
    assert build_command(one, SPEC) == f"policy-runner engine build {SPEC}"
    rows = {row.name: row.default for row in BACKEND_TABLE}
    assert build_command(BackendChoice.of(rows), SPEC) == f"policy-runner engine build {SPEC}"


def test_the_command_checks_and_stores_as_the_node_would(machine: Any) -> None:
    given = {
        "engines.limit_gb": 5.0,
        "precision_check.observations": "/data/my run.npz",
        "precision_check.samples": 16,
        "precision_check.tolerance": 1e-5,
        "tensorrt.cuda_binding": "pycuda",
    }
    command = shlex.split(build_command(BackendChoice("tensorrt", options=given), SPEC))
    sets = dict(word.split("=") for word in command if "=" in word)
    assert list(sets) == list(given)
    read = {name: yaml.safe_load(text) for name, text in sets.items()}
    assert read == given


def test_a_model_that_is_not_the_stated_one_is_never_built(machine: Any, tmp_path: Path) -> None:
    for file in SPEC.parent.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    spec = tmp_path / SPEC.name
    content = yaml.safe_load(spec.read_text())
    content["model"]["sha256"] = "0" * 64
    spec.write_text(yaml.safe_dump(content))
    with pytest.raises(Refusal, match=r"sha256: expected 0000.*the spec was written for"):
        build_into_cache(choice(), spec, lambda _line: None)
    assert machine.builds == 0


def test_what_was_built_is_found_with_the_same_choice_only(machine: Any) -> None:
    entry = build(choice())
    assert stored_engine(choice(), MODEL, SPEC) == b"plan of policy.onnx"
    assert cached_engine(choice(), MODEL) == entry.path
    assert entry.facts["check"]["largest"] == 0.0
    build(choice())
    assert machine.builds == 1
    with pytest.raises(Refusal, match="none in"):
        stored_engine(choice("fp16"), MODEL, SPEC)


def test_a_damaged_engine_is_refused_with_what_is_wrong(machine: Any) -> None:
    path = build(choice()).path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Refusal, match=r"none in .*sha256 differs.*engine build"):
        stored_engine(choice(), MODEL, SPEC)
    build(choice())
    assert stored_engine(choice(), MODEL, SPEC) == b"plan of policy.onnx"


def test_an_engine_that_commands_otherwise_is_not_kept(machine: Any) -> None:
    machine.model = Off
    with pytest.raises(Refusal, match=r"precision check: expected actions within 0.02"):
        build(choice("fp16"))
    assert cached_engine(choice("fp16"), MODEL) is None
    # An engine that a larger tolerance accepted is refused under a smaller one.
    wide = choice("fp16", precision_check__tolerance=100.0)
    largest = build(wide).facts["check"]["largest"]
    assert largest > 0.02
    assert stored_engine(wide, MODEL, SPEC)
    with pytest.raises(Refusal, match=f"precision check: .*got {largest:.3g} at"):
        stored_engine(choice("fp16"), MODEL, SPEC)


def test_an_estimate_goes_by_what_was_built_here(machine: Any) -> None:
    lines: list[str] = []
    build(choice(), lines.append)
    assert "no earlier build here to go by" in lines[0]
    lines.clear()
    build(choice("fp16"), lines.append)
    assert "as it took for this model before" in lines[0]
    with open_cache(choice()) as cache:
        key = replace(key_of(choice(), MODEL), model_sha256="another")
        assert "other models took 0 to 0 s here" in estimate(cache, key, MODEL)[1]
        other = replace(key, gpu="Thor")
        assert estimate(cache, other, MODEL) == (0.0, estimate(cache, other, MODEL)[1])


def test_without_tensorrt_there_is_no_engine_and_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def absent(_gpu: int, _binding: str) -> Any:
        raise refuse("", "backend tensorrt", "the Python package tensorrt", "no such package")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tensorrt_module, "machine_facts", absent)
    assert cached_engine(choice(), MODEL) is None
    with pytest.raises(Refusal, match="no such package"):
        engine_store.stored_engine(choice(), MODEL, SPEC)


def test_shapes_are_read_from_the_file(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["out"])], "toy",
        [
            helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 64, "wide"]),
            helper.make_tensor_value_info("scalar", TensorProto.FLOAT, []),
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
    )  # fmt: skip
    onnx.save(helper.make_model(graph), str(tmp_path / "m.onnx"))
    assert input_shapes(tmp_path / "m.onnx") == (("image", (1, 3, 64, 0)), ("scalar", ()))
    assert input_shapes(MODEL) == (("obs", (1, 12)),)
