"""Weights next to the graph, as above 2 GB: exported, checked, verified, imported."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest
from folders import OBS6, contract, not_normalized

from policy_runner.cli.main import main
from policy_runner.core.errors import Refusal
from policy_runner.export.graph import stored_model
from policy_runner.export.policy_export import export_policy
from policy_runner.export.sources.open_source import SourceOptions
from policy_runner.export.verify.verify_policy import verify_policy

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`folders.Wide`, exported twice where 256 bytes are the most in one file."""
    folder = tmp_path_factory.mktemp("large")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_model, "MOST_IN_ONE_FILE", 256)
        for name in ("first", "again"):
            options = SourceOptions(inputs=OBS6, folder=HERE)
            given = contract(observation=not_normalized(), name="large")
            export_policy("folders:Wide", folder / name, given, options=options)
    return folder


def test_weights_are_next_to_the_graph_and_verified(large: Path) -> None:
    folder = large / "first"
    assert (folder / "policy.onnx.data").stat().st_size > 1024
    assert (folder / "policy.onnx").stat().st_size < 8192
    assert main(["check", str(folder)]) == 0
    options = SourceOptions(inputs=OBS6, folder=HERE)
    found = verify_policy(folder, "folders:Wide", options=options)
    assert found.passed, [row for row in found.rows if row.outcome == "failed"]
    assert any(row.name.startswith("random, 1") for row in found.rows)


def test_the_same_source_gives_the_same_bytes(large: Path) -> None:
    for name in ("policy.onnx", "policy.onnx.data", "policy.yaml"):
        assert (large / "first" / name).read_bytes() == (large / "again" / name).read_bytes()


def test_weights_of_another_export_are_refused(large: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(large / "first", tmp_path / "policy")
    content = bytearray((folder / "policy.onnx.data").read_bytes())
    content[100] ^= 1
    (folder / "policy.onnx.data").write_bytes(content)
    with pytest.raises(Refusal, match=r"policy\.onnx\.data: sha256: expected"):
        verify_policy(folder, "folders:Wide", options=SourceOptions(inputs=OBS6, folder=HERE))


def test_import_takes_the_weights_along(large: Path) -> None:
    assert main(["import", str(large / "first" / "policy.onnx"), "-o", str(large / "new")]) == 0
    data = large / "new" / "policy.onnx.data"
    assert data.read_bytes() == (large / "first" / data.name).read_bytes()
    assert main(["check", str(large / "new")]) == 0


def test_a_model_has_its_weights_again_after_it_was_read_from_a_path(large: Path) -> None:
    model = onnx.load(large / "first" / "policy.onnx")
    size = stored_model.weights_size(model)
    with stored_model.readable(model, most=256) as stored:
        assert isinstance(stored, str)
        onnx.checker.check_model(stored, full_check=True)
    assert not Path(stored).exists()
    assert stored_model.weights_size(model) == size > 1024
    onnx.checker.check_model(model, full_check=True)
