"""Checks the fake ONNX Runtime's behaviour against the installed real one."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import fake_onnxruntime as fake
import numpy as np
import onnxruntime as ort
import pytest

from policy_runner.backends.doctor import write_probe
from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.onnxruntime.cpu import OnnxRuntimeModel
from policy_runner.backends.onnxruntime.libraries import CPU, CUDA, TENSORRT, missing_library
from policy_runner.backends.onnxruntime.proof import (
    assignment,
    check_answers,
    check_session,
    profiled_assignment,
)
from policy_runner.backends.onnxruntime.session import quiet, session_options
from policy_runner.core.errors import Refusal

no_gpu = pytest.mark.skipif(
    CUDA in ort.get_available_providers() and not missing_library(CUDA), reason="CUDA is here"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_probe(tmp_path / "probe.onnx")


def _session(path: Path, providers: list[Any], **entries: str) -> Any:
    named = {f"session.{name}": value for name, value in entries.items()}
    options = session_options(BackendChoice(), named)
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ort.InferenceSession(str(path), options, providers=providers, enable_fallback=0)


def test_the_probe_is_a_model(path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    onnx.checker.check_model(onnx.load(path))
    model = OnnxRuntimeModel(path)
    model.inputs["x"][:] = [[1, 2, 3, 4]]
    model.run()
    assert model.outputs["y"].tolist() == [[2, 4, 6, 8]]
    assert (model.inputs["x"].dtype, model.inputs["x"].shape) == (np.float32, (1, 4))


@no_gpu
def test_a_cuda_session_becomes_one_on_the_cpu_without_a_word(path: Path) -> None:
    session = _session(path, [CUDA])
    assert session.get_providers() == [CPU]
    with pytest.raises(Refusal, match=f"expected a session on {CUDA}, got a session on {CPU}"):
        check_session(session, CUDA)
    check_session(session, CPU)


@no_gpu
def test_the_entry_against_the_cpu_is_heard(path: Path) -> None:
    with pytest.raises(Exception, match="assigned to the default CPU EP"):
        _session(path, [CUDA], disable_cpu_ep_fallback="1")
    with pytest.raises(Exception, match="explicitly added the CPU EP"):
        _session(path, [CPU], disable_cpu_ep_fallback="1")


def test_an_unknown_provider_raises_without_the_fallback(path: Path) -> None:
    with pytest.raises(RuntimeError, match="Unknown Provider Type: FooExecutionProvider"):
        _session(path, ["FooExecutionProvider"])


@no_gpu
def test_memory_on_a_gpu_that_is_not_there_raises() -> None:
    with quiet(), pytest.raises(RuntimeError):
        ort.OrtValue.ortvalue_from_numpy(np.zeros(3, np.float32), "cuda", 0)


def test_what_the_list_of_providers_is_worth() -> None:
    listed = ort.get_available_providers()
    for provider in (CUDA, TENSORRT):
        if provider not in listed:
            assert "came without" in missing_library(provider)


@pytest.mark.skipif(
    not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"),
    reason="this ONNX Runtime cannot say where its nodes went",
)
def test_the_assignment_of_a_session(path: Path) -> None:
    found = assignment(_session(path, [CPU], record_ep_graph_assignment_info="1"))
    assert found == Counter({CPU: 1})
    with pytest.raises(Exception, match="record_ep_graph_assignment_info"):
        assignment(_session(path, [CPU]))


def test_the_assignment_of_a_profile(path: Path, tmp_path: Path) -> None:
    options = session_options(BackendChoice())
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = ort.InferenceSession(str(path), options, providers=[CPU])
    for _ in range(2):
        session.run(None, {"x": np.zeros((1, 4), np.float32)})
    assert profiled_assignment(Path(session.end_profiling())) == Counter({CPU: 1})


def test_update_inplace_looks_at_sizes_and_at_no_type() -> None:
    array = np.zeros(3, np.float32)
    real, faked = ort.OrtValue.ortvalue_from_numpy(array), fake.Value(array, fake.Machine(), 0)
    for value in (real, faked):
        value.update_inplace(np.arange(3, dtype=np.float32))
        assert value.numpy().tolist() == [0, 1, 2]
        value.update_inplace(np.ones(3, np.float64))  # another type: wrong numbers, no error
        assert value.numpy().tolist() == [0, 1.875, 0]
        with pytest.raises(RuntimeError, match="does not match"):
            value.update_inplace(np.ones(4, np.float32))
    assert array.tolist() == [0, 1.875, 0]  # on the host it is the array itself


def test_answers_are_those_of_the_model_itself(path: Path) -> None:
    one, other = OnnxRuntimeModel(path), OnnxRuntimeModel(path)
    check_answers(one, other, CPU, path, 1e-6)
    assert one.inputs["x"].tolist() == [[0, 0, 0, 0]]

    class Stuck:
        """A model that ignores its input after the first run."""

        inputs, outputs = one.inputs, one.outputs

        def run(self) -> None:
            one.outputs["y"][:] = 1.0

    with pytest.raises(Refusal, match="output 'y': expected another answer to another input"):
        check_answers(Stuck(), other, CPU, path, 1e-6)
