"""A model that carries its contract: `import` gives the same spec, and every bit of the numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from cli_rig import spec as toy_spec
from small_models import quadruped

from policy_runner.backends.onnxruntime.model_facts import read_model_facts
from policy_runner.cli.main import main
from policy_runner.core.errors import Refusal
from policy_runner.formats.draft import spec_text
from policy_runner.formats.own.exported import (
    CONTRACT,
    STATISTICS,
    as_metadata,
    draft_exported,
    npz_bytes,
    statistics_of,
)

ODD = 0.1 + 0.2  # a number that 12 decimals lose
NUMBERS = {"mean": np.random.default_rng(5).normal(0, 1e3, 245), "var": np.geomspace(1e-17, 3, 245)}


def with_metadata(folder: Path, **changes: str) -> Path:
    path = quadruped(folder)
    model = onnx.load(path)
    spec = toy_spec(model={"file": "policy.onnx", "sha256": "0" * 64}, control_dt=ODD)
    spec["observation"][0]["normalization"] = {"preset": "sb3", "statistics": "statistics.npz"}
    found = {**as_metadata(spec, {"statistics.npz": NUMBERS}, {"opset": 17}), **changes}
    onnx.helper.set_model_props(model, found)
    onnx.save(model, path)
    return path


def test_import_of_the_model_alone_gives_every_bit(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    path = with_metadata(tmp_path / "from")
    assert main(["import", str(path), "-o", str(tmp_path / "to")]) == 0
    spec = yaml.safe_load((tmp_path / "to" / "policy.yaml").read_text())
    assert spec["control_dt"] == ODD
    assert spec["model"]["sha256"] == read_model_facts(path).sha256
    with np.load(tmp_path / "to" / "statistics.npz") as stored:
        for name, values in NUMBERS.items():
            assert stored[name].tobytes() == values.tobytes()
    again = draft_exported(read_model_facts(tmp_path / "to" / "policy.onnx"))
    assert yaml.safe_load(spec_text(again)) == spec


def test_the_same_arrays_give_the_same_bytes() -> None:
    assert npz_bytes(NUMBERS) == npz_bytes(dict(NUMBERS))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({CONTRACT: "{"}, "metadata policy_runner.contract: expected JSON"),
        ({CONTRACT: "[1]"}, "expected a JSON object, got list"),
        ({CONTRACT: "[" * 40 + "]" * 40}, "more than 32 values inside each other"),
        ({CONTRACT: json.dumps({"model": 3})}, "expected a mapping 'model'"),
        ({STATISTICS: json.dumps({"../x.npz": {}})}, "without folders, got '../x.npz'"),
        ({STATISTICS: json.dumps({"x.npz": {"mean": ["a"]}})}, "expected lists of numbers"),
    ],
)
def test_damaged_metadata_is_refused(tmp_path: Path, changes: dict[str, str], told: str) -> None:
    with pytest.raises(Refusal) as refused:
        draft_exported(read_model_facts(with_metadata(tmp_path, **changes)))
    assert told in str(refused.value)


def test_statistics_come_back_as_float64(tmp_path: Path) -> None:
    found = statistics_of(read_model_facts(with_metadata(tmp_path)))
    assert found["statistics.npz"]["var"].tobytes() == NUMBERS["var"].tobytes()
