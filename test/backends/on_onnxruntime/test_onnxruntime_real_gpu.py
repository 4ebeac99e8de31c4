"""ONNX Runtime on a real NVIDIA GPU gives the CPU's answers in every run.

Skipped without a GPU; other tests use a fake.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_runner.backends.cuda.driver import read_driver
from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.load import load_model
from policy_runner.backends.onnxruntime.libraries import CUDA, missing_library, preload
from policy_runner.backends.onnxruntime.proof import samples_for
from policy_runner.core.errors import Refusal

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the models")
MODELS = ("mlp", "lstm", "cnn")


def _no_gpu() -> str:
    import onnxruntime

    if not read_driver().gpus:
        return "no NVIDIA GPU here"
    if CUDA not in onnxruntime.get_available_providers():
        return "onnxruntime-gpu is not installed"
    preload(CUDA)
    return missing_library(CUDA)


@pytest.fixture(scope="module", autouse=True)
def gpu() -> None:
    reason = _no_gpu()
    if reason:
        pytest.skip(reason)


@pytest.fixture(params=MODELS)
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: Any) -> Path:
    """Each model of the benchmark."""
    import onnx

    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[3] / "benchmarks"))
    import backends as benchmark

    path = tmp_path / f"{request.param}.onnx"
    onnx.save(benchmark.MODELS[request.param](), path)
    return path


def _load(path: Path, device: str, **options: Any) -> Any:
    named = {f"onnxruntime.{name}": value for name, value in options.items()}
    return load_model(BackendChoice("onnxruntime", device, "fp32", named), path, None, path)


@pytest.mark.parametrize("graph", [False, True])
def test_the_cpus_answers(path: Path, graph: bool) -> None:
    try:
        on_gpu = _load(path, "gpu", cuda_graph=graph)
    except Refusal as refusal:
        if not graph:
            raise
        pytest.skip(f"refused, since it cannot be captured: {refusal}")
    on_cpu = _load(path, "cpu")
    assert on_gpu.provider == CUDA
    for sample in samples_for(on_cpu.inputs, 20):
        for model in (on_gpu, on_cpu):
            for name, array in sample.items():
                np.copyto(model.inputs[name], array)
            model.run()
        for name, wanted in on_cpu.outputs.items():
            got = on_gpu.outputs[name]
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-3 * (1 + np.abs(wanted).max()))
    on_gpu.close()


def test_two_models_side_by_side(path: Path) -> None:
    # As in a reload: the new model is loaded and warmed up while the old one runs.
    old, new = _load(path, "gpu"), _load(path, "gpu")
    (sample,) = samples_for(old.inputs, 1)
    answers = []
    for model in (old, new, old):
        for name, array in sample.items():
            np.copyto(model.inputs[name], array)
        model.run()
        answers.append({name: array.copy() for name, array in model.outputs.items()})
    new.close()
    old.run()
    for name, array in old.outputs.items():
        np.testing.assert_array_equal(array, answers[0][name])
        np.testing.assert_array_equal(answers[1][name], answers[0][name])
