"""`auto` and the bench with TensorRT (a fake one): an engine that was built is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gpu_for_children import fake_gpu as fake_gpu

from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.load import load_model
from policy_runner.cli.main import main
from policy_runner.core.errors import Refusal
from policy_runner.core.spec import read_spec
from policy_runner.package_files import share_path

pytestmark = pytest.mark.usefixtures("fake_gpu")


def _load(**given: Any) -> Any:
    spec_file = read_spec(share_path("models", "balancer"))
    path = spec_file.next_to(spec_file.spec.model.file, "model.file")
    return load_model(BackendChoice(**given), path, spec_file.spec.model.sha256, spec_file.path)


def test_an_engine_is_taken_once_it_is_built(tmp_path: Path, capsys: Any) -> None:
    spec = str(share_path("models", "balancer"))
    with pytest.raises(Refusal, match="policy-runner engine build"):
        _load(device="gpu")
    assert main(["engine", "build", spec]) == 0
    model = _load(device="gpu")
    assert model.provider.startswith("tensorrt")
    assert model.facts["chosen"] == "auto took tensorrt: gpu was asked for"
    model.close()
    # By default a small network runs on the CPU, until a measurement says otherwise.
    assert _load().facts["chosen"].startswith("auto took onnxruntime-cpu: a network of ")
    out = tmp_path / "out.json"
    words = ["bench", "backends", spec, "--seconds", "0.1", "--priority", "0", "--json", str(out)]
    assert main([*words, "--only", "tensorrt", "--remember"]) == 0
    (row,) = json.loads(out.read_text())["rows"]
    assert row["us"]["p50"] > 0
    assert "backend: auto takes tensorrt for this model from now on" in " ".join(
        capsys.readouterr().out.split()
    )
    model = _load()
    assert model.provider.startswith("tensorrt")
    assert ": measured on " in model.facts["chosen"]
    model.close()


def test_the_doctor_sees_them(capsys: Any) -> None:
    main(["doctor", "--json"])
    found = {one["what"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["tensorrt"]["level"] == "ok"
    assert found["tensorrt"]["text"] == "10.3.0"
    assert found["CUDA binding"]["level"] == "ok"
