"""CUDA and TensorRT through ONNX Runtime: the requested provider runs, or a refusal says why.

The tests use a fake ONNX Runtime that falls back silently, like the real one.
"""

from __future__ import annotations

import hashlib
import importlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_onnxruntime as fake
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from policy_runner.backends.cuda import driver as cuda_driver_facts
from policy_runner.backends.cuda.driver import Driver, Gpu
from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.load import load_model
from policy_runner.backends.onnxruntime.libraries import remedy_for
from policy_runner.core.errors import Refusal

RANDOM = np.random.default_rng(3)
Make = Callable[..., Any]


def _save(path: Path, dtype: Any = np.float32) -> Path:
    """Save a model: act = tanh(obs @ w), h_out = h + obs[:2], and an integer count."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("MatMul", ["obs", "w"], ["x"]),
        helper.make_node("Tanh", ["x"], ["act"]),
        helper.make_node("Add", ["h", "act"], ["h_out"]),
        helper.make_node("Add", ["count", "count"], ["twice"]),
    ]
    value, integer = helper.make_tensor_value_info, TensorProto.INT64
    inputs = [value("obs", kind, ["n", 5]), value("h", kind, [1, 3]), value("count", integer, [1])]
    outputs = [
        value("act", kind, ["n", 3]), value("h_out", kind, [1, 3]), value("twice", integer, [1])
    ]  # fmt: skip
    weight = numpy_helper.from_array(RANDOM.normal(size=(5, 3)).astype(dtype), "w")
    graph = helper.make_graph(nodes, "small", inputs, outputs, [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return _save(tmp_path / "policy.onnx")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., fake.Machine]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(**given: Any) -> fake.Machine:
        made = fake.Machine(**given)
        fake.install(monkeypatch, tmp_path, made)
        return made

    return make


def _choice(device: str = "gpu", precision: str = "as_exported", **options: Any) -> BackendChoice:
    named = {f"onnxruntime.{name}": value for name, value in options.items()}
    return BackendChoice("onnxruntime", device, precision, named)


def _load(path: Path, choice: BackendChoice) -> Any:
    return load_model(choice, path, None, path)


def _refused(path: Path, choice: BackendChoice) -> str:
    with pytest.raises(Refusal) as caught:
        _load(path, choice)
    (problem,) = caught.value.problems
    assert "\n" not in str(problem)
    return str(problem)


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("graph", [True, False])
def test_runs_where_it_was_asked_to(path: Path, machine: Make, graph: bool, tells: bool) -> None:
    there = machine(tells_assignment=tells)
    model = _load(path, _choice(cuda_graph=graph))
    assert model.provider == fake.CUDA
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.facts["device"] == "gpu:0"
    assert model.facts["operations"] == f"4 on {fake.CUDA}"
    assert model.facts["cuda graph"] == ("yes" if graph else "no")
    (session,) = there.sessions
    assert session.flags["device_id"] == "0"
    assert session.flags["use_tf32"] == "0"
    assert session.flags["cudnn_conv_algo_search"] == "HEURISTIC"
    assert not session._enable_fallback
    assert model.outputs["act"].tolist() == [[0, 0, 0]]  # as after every warm-up
    on_cpu = load_model("onnxruntime", path, None, path)
    obs, act = model.inputs["obs"], model.outputs["act"]
    for k in range(4):
        for one in (model, on_cpu):
            one.inputs["obs"][:] = np.full((1, 5), 0.1 * k)
            one.inputs["h"][:] = k
            one.inputs["count"][:] = k
            one.run()
        assert model.inputs["obs"] is obs
        assert model.outputs["act"] is act
        for name in on_cpu.outputs:
            np.testing.assert_array_equal(model.outputs[name], on_cpu.outputs[name])
    model.close()
    model.close()


def test_device_and_options_reach_the_provider(path: Path, machine: Make) -> None:
    there = machine(gpus=3)
    _load(path, _choice("gpu:2", tf32=True, cudnn_search="exhaustive", gpu_memory=64))
    flags = there.sessions[0].flags
    assert (flags["device_id"], flags["use_tf32"]) == ("2", "1")
    assert flags["cudnn_conv_algo_search"] == "EXHAUSTIVE"
    assert flags["gpu_mem_limit"] == str(64 << 20)


def test_a_gpu_that_is_not_there(path: Path, machine: Make) -> None:
    machine(gpus=1)
    sentence = _refused(path, _choice("gpu:1"))
    assert sentence.endswith(
        "got CUDA failure 101: invalid device ordinal; `policy-runner doctor` says which GPUs "
        "there are; or run on the CPU"
    )


def test_a_wheel_without_cuda(path: Path, machine: Make) -> None:
    machine(built=(fake.CPU,))
    sentence = _refused(path, _choice())
    assert sentence.startswith("onnxruntime: expected CUDAExecutionProvider, got ")
    assert "docs/guides/install_jetson.md" in sentence


def test_cuda_without_its_libraries(path: Path, machine: Make) -> None:
    # The real ONNX Runtime lists the provider as available and drops it without an exception.
    there = machine(works=())
    sentence = _refused(path, _choice())
    assert sentence.startswith(f"{fake.CUDA}: expected its libraries, got ")
    assert "libonnxruntime_providers_cuda.so" in sentence
    assert not there.sessions


def test_a_session_that_became_another(
    path: Path, machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The libraries load, but the provider cannot be created: no driver, no device.
    machine(works=())
    monkeypatch.setattr(
        "policy_runner.backends.onnxruntime.proof.missing_library", lambda _provider: ""
    )
    assert "operations that this provider lacks" in _refused(path, _choice())
    allowed = _refused(path, _choice(allow_cpu_nodes=True))
    assert f"expected a session on {fake.CUDA}, got a session on {fake.CPU}" in allowed
    assert "TensorRT libraries" in _refused(path, _choice(provider="tensorrt", build=True))


@pytest.mark.parametrize("tells", [True, False])
def test_operations_on_the_cpu(path: Path, machine: Make, tells: bool) -> None:
    machine(lacks=("Tanh",), tells_assignment=tells)
    sentence = _refused(path, _choice())
    assert "got operations that this provider lacks; set onnxruntime.allow_cpu_nodes" in sentence
    model = _load(path, _choice(allow_cpu_nodes=True))
    assert model.facts["operations"] == f"3 on {fake.CUDA}, 1 on {fake.CPU}"
    both = _refused(path, _choice(cuda_graph=True, allow_cpu_nodes=True))
    assert "expected a CUDA graph, or operations on the CPU" in both


def test_all_operations_on_the_cpu(path: Path, machine: Make) -> None:
    machine(lacks=("MatMul", "Tanh", "Add"))
    sentence = _refused(path, _choice(allow_cpu_nodes=True))
    assert f"expected every operation on {fake.CUDA}, got 4 on {fake.CPU}" in sentence


def test_a_wheel_without_code_for_this_gpu(path: Path, machine: Make) -> None:
    machine(kernels=False)
    sentence = _refused(path, _choice())
    assert "got CUDA error cudaErrorNoKernelImageForDevice:no kernel image is " in sentence
    assert "this onnxruntime has no code for this GPU: " in sentence


@pytest.mark.parametrize("tf32", [True, False])
def test_other_answers_than_the_cpu(path: Path, machine: Make, tf32: bool) -> None:
    machine(error=0.01)
    if tf32:
        assert _load(path, _choice(tf32=tf32)).facts["tf32"] == "yes"
        return
    with pytest.raises(Refusal) as caught:
        _load(path, _choice(tf32=tf32))
    first = str(caught.value.problems[0])
    assert "output 'act': expected the CPU's answer within 0.001" in first


def test_a_graph_that_repeats_its_first_answer(path: Path, machine: Make) -> None:
    machine(replays_first=True)
    assert _load(path, _choice()).facts["cuda graph"] == "no"
    with pytest.raises(Refusal) as caught:
        _load(path, _choice(cuda_graph=True))
    texts = [str(problem) for problem in caught.value.problems]
    assert "output 'act': expected another answer to another input, got the first again" in texts[0]


def test_a_graph_of_host_tensors_would_replay(path: Path, machine: Make) -> None:
    # A contract of the fake: why device tensors are needed.
    there = machine()
    model = _load(path, _choice(cuda_graph=True))
    session, binding = there.sessions[0], there.sessions[0].io_binding()
    host = fake.real.OrtValue.ortvalue_from_numpy(np.zeros((1, 5), np.float32))
    binding.bind_ortvalue_input("obs", host)
    host.update_inplace(np.ones((1, 5), np.float32))
    assert binding.inputs["obs"].max() == 0
    assert all(isinstance(value, fake.Value) for value, _ in (*model._in, *model._out))
    assert session._captured is not None


@pytest.mark.parametrize(
    ("device", "provider"), [("cpu", "cuda"), ("cpu", "tensorrt"), ("gpu:0", "cpu")]
)
def test_contradictions(path: Path, device: str, provider: str) -> None:
    sentence = _refused(path, _choice(device, provider=provider))
    assert sentence.startswith("parameter device: expected a device that onnxruntime.provider")
    assert "expected a GPU" in _refused(path, _choice("cpu", cuda_graph=True))


def test_precisions_that_nobody_computes_in(tmp_path: Path, machine: Make) -> None:
    machine()
    full, half = _save(tmp_path / "a.onnx"), _save(tmp_path / "b.onnx", np.float16)
    for device in ("cpu", "gpu"):
        sentence = _refused(full, _choice(device, "fp16"))
        assert "expected a model exported in fp16" in sentence
        assert "got its weights are fp32" in sentence
        assert "exported in fp32" in _refused(half, _choice(device, "fp32"))
        assert _load(half, _choice(device, "fp16")).outputs["act"].dtype == np.float16
        assert _load(full, _choice(device, "fp32")).outputs["act"].dtype == np.float32


def test_tensorrt_builds_only_when_asked(path: Path, machine: Make, tmp_path: Path) -> None:
    there = machine()
    sentence = _refused(path, _choice(provider="tensorrt"))
    assert sentence.endswith("`policy-runner bench backends SPEC --only onnxruntime-tensorrt`")
    assert not there.sessions
    built = _load(path, _choice(provider="tensorrt", build=True))
    assert built.provider == fake.TENSORRT
    flags = there.sessions[0].flags
    assert (flags["trt_fp16_enable"], flags["trt_min_subgraph_size"]) == ("0", "1")
    engines = Path(flags["trt_engine_cache_path"])
    assert engines.is_relative_to(tmp_path / "cache")
    assert all(folder.stat().st_mode & 0o777 == 0o700 for folder in (engines, *engines.parents[:2]))
    assert _load(path, _choice(provider="tensorrt")).provider == fake.TENSORRT
    assert "none in" in _refused(path, _choice(precision="fp16", provider="tensorrt"))
    engines.chmod(0o777)
    assert "mode 0700" in _refused(path, _choice(provider="tensorrt"))


def test_tensorrt_engines_of_another_machine_are_others(
    path: Path, machine: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = machine(gpus=2)
    folders = []
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))

    def built(device: str = "gpu") -> None:
        _load(path, _choice(device, provider="tensorrt", build=True)).close()
        folders.append(there.sessions[-1].flags["trt_engine_cache_path"])

    def found(cuda: str, *names: str) -> None:
        driver = Driver(cuda, tuple(Gpu(name, "8.7", True) for name in names))
        monkeypatch.setattr(cuda_driver_facts, "read_driver", lambda: driver)

    def version(text: str) -> None:
        shutil.rmtree(site, ignore_errors=True)
        info = site / f"tensorrt-{text}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tensorrt\nVersion: {text}\n")
        importlib.invalidate_caches()

    built()  # without a driver and TensorRT's Python package
    found("12.6", "Orin", "Orin")
    built()
    built("gpu:1")
    found("12.6", "Thor", "Orin")
    built()
    found("13.0", "Orin", "Orin")
    built()
    for text in ("10.3.0", "10.7.0"):
        version(text)
        built()
    assert len(set(folders)) == len(folders) == 7
    found("13.0", "Orin", "another")
    built()
    assert folders[-1] == folders[-2]


def test_two_installed_in_one_place(
    path: Path, machine: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine()
    site = tmp_path / "site"
    for name in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-extensions"):
        brings = "onnxruntime_extensions" if "ext" in name else "onnxruntime"
        info = site / f"{name.replace('-', '_')}-1.31.1.dist-info"
        info.mkdir(parents=True)
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.31.1\n"
        (info / "METADATA").write_text(metadata)
        (info / "RECORD").write_text(f"{brings}/__init__.py,,\n")
    monkeypatch.syspath_prepend(str(site))
    sentence = _refused(path, _choice())
    assert "expected one installed distribution, got onnxruntime " in sentence
    assert "onnxruntime-gpu 1.31.1; they overwrite each other" in sentence
    assert sentence.endswith("&& pip install onnxruntime-gpu")
    # The CPU works with either distribution, and its facts have a warning.
    assert "overwrite" in load_model("onnxruntime", path, None, path).facts["warning"]


@pytest.mark.parametrize(
    ("lacks", "helps"),
    [
        ("libonnxruntime_providers_cuda.so needs libcublasLt.so.13, which is not there", "CUDA 13"),
        ("libonnxruntime_providers_cuda.so needs libcudnn.so.9, which is not there", "cuDNN 9"),
        ("libonnxruntime_providers_tensorrt.so needs libnvinfer.so.10, ...", "TensorRT 10"),
        ("libonnxruntime_providers_cuda.so needs libcuda.so.1, ...", "NVIDIA's driver"),
        ("x.so: undefined symbol: cuTensorMapEncodeTiled", "update NVIDIA's driver"),
        ("this onnxruntime 1.31.1 came without x.so", "install the onnxruntime-gpu"),
    ],
)
def test_what_helps_against_a_missing_library(lacks: str, helps: str) -> None:
    # The sentences of the real wheel on machines that each lack one library.
    assert helps in remedy_for(fake.CUDA, lacks)


@pytest.mark.parametrize("left", ["nothing", "a folder", "a library of another machine"])
def test_no_onnxruntime(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    _load(path, _choice("cpu"))  # do the lazy imports before the paths are removed
    monkeypatch.delitem(sys.modules, "onnxruntime")
    folder = tmp_path / "site" / "onnxruntime"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(folder.parent), str(tmp_path)])
    importlib.invalidate_caches()
    if left == "nothing":
        folder.rmdir()
    elif left.startswith("a library"):
        (folder / "__init__.py").write_text("raise ImportError('libx.so: wrong ELF class')")
    sentence = _refused(path, _choice("cpu"))
    got = {"nothing": "got none; pip", "a folder": "an empty folder"}
    assert sentence.startswith("onnxruntime: expected the Python package onnxruntime, got ")
    assert got.get(left, "wrong ELF class") in sentence
    assert "; pip install" in sentence
    monkeypatch.undo()
    sys.modules["onnxruntime"] = fake.real
