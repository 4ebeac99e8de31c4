"""`backend: auto`: which candidate it chooses on which machine, and its reasons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_onnxruntime as fake
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from policy_runner.backends import load as auto
from policy_runner.backends import measurements as measured
from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.load import load_model
from policy_runner.backends.onnx_file.check import check_model_file
from policy_runner.backends.onnx_file.weights import read_weights
from policy_runner.core.errors import Refusal

Make = Callable[..., fake.Machine]
CPU_WINS = {"onnxruntime-cpu": 100.0, "onnxruntime-cuda": 95.0}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    """Replaces ONNX Runtime by a fake machine; without a call, the installed one is used."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(**given: Any) -> fake.Machine:
        made = fake.Machine(**given)
        fake.install(monkeypatch, tmp_path, made)
        return made

    return make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A model of 6 weights."""
    return _save(tmp_path / "small.onnx", (2, 3))


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A model with more weights than `auto` prefers to run on the CPU."""
    return _save(tmp_path / "large.onnx", (1, auto.SMALL))


def _save(path: Path, shape: tuple[int, int], operator: str = "MatMul", half: bool = False) -> Path:
    value = helper.make_tensor_value_info
    ends = [value("x", TensorProto.FLOAT, [1, shape[0]])], [value("y", TensorProto.FLOAT, None)]
    dtype = np.float16 if half else np.float32
    weight = numpy_helper.from_array(np.ones(shape, dtype), "w")
    ends[1][0].type.tensor_type.shape.CopyFrom(
        helper.make_tensor_type_proto(1, [1, shape[1]]).tensor_type.shape
    )
    graph = helper.make_graph([helper.make_node(operator, ["x", "w"], ["y"])], "g", *ends, [weight])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def _load(path: Path, **given: Any) -> Any:
    return load_model(BackendChoice(**given), path, None, path)


def test_weights_are_counted(tmp_path: Path) -> None:
    found = read_weights(_save(tmp_path / "a.onnx", (7, 5)))
    assert (found.count, found.precision, found.convolutions) == (35, "fp32", 0)
    found = read_weights(_save(tmp_path / "b.onnx", (7, 5), "Conv", half=True))
    assert (found.half, found.precision, found.convolutions) == (35, "fp16", 1)
    (tmp_path / "c.onnx").write_bytes(b"no protobuf")
    assert read_weights(tmp_path / "c.onnx").count == 0


def test_a_small_network_runs_on_the_cpu(path: Path, machine: Make) -> None:
    there = machine()
    model = _load(path)
    assert model.provider == fake.CPU
    chosen = model.facts["chosen"]
    assert chosen.startswith("auto took onnxruntime-cpu: a network of 6 weights is as fast")
    assert not there.sessions


def test_a_large_one_on_cuda_where_it_is(large: Path, machine: Make) -> None:
    machine()
    model = _load(large)
    assert model.provider == fake.CUDA
    chosen = model.facts["chosen"]
    assert chosen.startswith("auto took onnxruntime-cuda: ")
    assert "not tensorrt: " in chosen


def test_without_cuda_the_cpu_and_every_reason(large: Path) -> None:
    # The real ONNX Runtime, on a machine without a GPU.
    model = _load(large)
    assert model.provider == fake.CPU
    chosen = model.facts["chosen"]
    assert chosen.startswith("auto took onnxruntime-cpu: the last in the order; not tensorrt: ")
    reason = chosen.partition("not onnxruntime-cuda: ")[2]
    assert "CUDAExecutionProvider" in reason
    assert ", got " in reason


@pytest.mark.parametrize("precision", ["as_exported", "fp16"])
def test_what_was_asked_for_is_not_replaced(path: Path, machine: Make, precision: str) -> None:
    machine(works=())
    with pytest.raises(Refusal) as caught:
        _load(path, device="gpu", precision=precision)
    texts = [str(problem) for problem in caught.value.problems]
    assert any(fake.CUDA in text or "parameter precision" in text for text in texts)
    with pytest.raises(Refusal, match="libraries"):
        _load(path, options={"onnxruntime.provider": "cuda"})


def test_half_precision_is_not_forgotten_on_the_cpu(path: Path) -> None:
    with pytest.raises(Refusal, match="a model exported in fp16"):
        _load(path, precision="fp16")


@pytest.mark.parametrize(
    ("p99", "best"),
    [
        ({"onnxruntime-cpu": 100.0, "onnxruntime-cuda": 89.0}, "onnxruntime-cuda"),
        (CPU_WINS, "onnxruntime-cpu"),
        ({"tensorrt": 500.0, "onnxruntime-cuda": 400.0}, "onnxruntime-cuda"),
    ],
)
def test_the_best_of_a_measurement(p99: dict[str, float], best: str) -> None:
    assert measured.best_of(p99) == best


def _remember(path: Path, best: str, machine: str = "") -> Path:
    found = measured.Measured(
        best, {best: 40.0}, 50.0, "2026-11-20", machine or measured.machine_name()
    )
    return measured.remember(BackendChoice(), check_model_file(path, None, path), found)


def test_a_measurement_decides(path: Path, machine: Make) -> None:
    machine()
    _remember(path, "onnxruntime-cuda")
    model = _load(path)
    assert model.provider == fake.CUDA
    assert (
        "measured on 2026-11-20 at 50 Hz, p99 in µs: onnxruntime-cuda 40" in model.facts["chosen"]
    )
    # A measurement of another precision does not count.
    assert "measured" not in _load(path, precision="fp32").facts["chosen"].replace("measures", "")


def test_a_measurement_lies_with_the_engines(path: Path, machine: Make, tmp_path: Path) -> None:
    machine()
    options = {"engines.folder": str(tmp_path / "data" / "engines")}
    digest = check_model_file(path, None, path)
    name = "onnxruntime-cuda"
    found = measured.Measured(name, {name: 40.0}, 50.0, "2026-11-20", measured.machine_name())
    file = measured.remember(BackendChoice(options=options), digest, found)
    assert file.parent == tmp_path / "data" / "engines" / "measured"
    assert [folder.stat().st_mode & 0o777 for folder in file.parents[:2]] == [0o700, 0o700]
    assert _load(path, options=options).provider == fake.CUDA
    assert _load(path).provider == fake.CPU
    # A file that `bench backends --remember` wrote to the default folder is also found.
    file.unlink()
    _remember(path, name)
    assert _load(path, options=options).provider == fake.CUDA


def test_a_user_without_a_home_runs_on_the_cpu(
    path: Path, machine: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    machine()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", none)
    assert _load(path).provider == fake.CPU
    assert _load(path, options={"engines.folder": str(tmp_path / "e")}).provider == fake.CPU


def test_a_measured_gpu_that_is_gone(path: Path) -> None:
    _remember(path, "onnxruntime-cuda")
    chosen = _load(path).facts["chosen"]
    assert chosen.startswith("auto took onnxruntime-cpu")
    assert "not onnxruntime-cuda: " in chosen


@pytest.mark.parametrize("what", ["another machine", "no JSON", "a list", "everybody's", "no such"])
def test_a_measurement_that_is_none(path: Path, machine: Make, what: str) -> None:
    machine()
    best = "rm -rf" if what == "no such" else "onnxruntime-cuda"
    file = _remember(path, best, "elsewhere" if what == "another machine" else "")
    if what == "no JSON":
        file.write_text("{")
    elif what == "a list":
        file.write_text("[1]")
    elif what == "everybody's":
        file.chmod(0o666)
    assert _load(path).provider == fake.CPU


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"backend": "tensorflow"}, "backend"),
        ({"precision": "int8"}, "precision"),
        ({"device": "cuda"}, "device"),
        ({"device": "gpu:x"}, "device"),
        ({"backend": "tensorrt", "device": "cpu"}, "device"),
        ({"options": {"onnxruntime.provider": "rocm"}, "backend": "onnxruntime"}, "onnxruntime"),
        ({"options": {"onnxruntime.provider": "rocm"}}, "onnxruntime"),
        ({"options": {"onnxruntime.provider": "cpu"}, "device": "gpu"}, "device"),
        ({"options": {"onnxruntime.provider": "cuda"}, "device": "cpu"}, "device"),
    ],
)
def test_choices_that_there_are_not(
    path: Path, machine: Make, given: dict[str, Any], key: str
) -> None:
    machine()  # where every provider works
    with pytest.raises(Refusal, match=f"parameter {key}.*expected"):
        _load(path, **given)


def test_a_choice_from_parameters() -> None:
    values = {"backend": "tensorrt", "device": "gpu:2", "rate": 50.0, "tensorrt.tf32": True}
    choice = BackendChoice.of(values)
    assert (choice.backend, choice.gpu, choice.precision) == ("tensorrt", 2, "as_exported")
    assert choice.options == {"tensorrt.tf32": True}
    assert choice.option("tensorrt.tf32", False) is True
    assert choice.option("tensorrt.other", 7) == 7
