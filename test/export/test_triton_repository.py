"""`policy-runner export --as triton`: the files of a model repository, and further versions.

By hand, a Triton 2.51 (nvidia-pytriton 0.7.0) has served such a folder, with the same bits.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import several_rig
from cli_rig import refusals, write_policy, write_quadruped

from policy_runner.cli.main import main
from policy_runner.core.errors import Refusal
from policy_runner.export.triton_repository import write_triton

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the models")


def test_a_repository_has_the_model_and_its_tensors(tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "toy")
    assert main(["export", str(policy), "--as", "triton", "-o", str(tmp_path / "all")]) == 0
    folder = tmp_path / "all" / "toy"
    assert (folder / "1" / "model.onnx").read_bytes() == (policy / "toy.onnx").read_bytes()
    assert not (folder / "1" / "model.py").exists()
    lines = (folder / "config.pbtxt").read_text().splitlines()
    assert lines[:6] == [
        'name: "toy"',
        'backend: "onnxruntime"',
        'default_model_filename: "model.onnx"',
        "max_batch_size: 0",
        'input { name: "obs" data_type: TYPE_FP32 dims: [1, 13] }',
        'output { name: "actions" data_type: TYPE_FP32 dims: [1, 2] }',
    ]


def test_an_open_batch_is_collected_from_several_robots(tmp_path: Path) -> None:
    write_quadruped(tmp_path)
    text = (write_triton(tmp_path, tmp_path / "all") / "config.pbtxt").read_text()
    assert "max_batch_size: 64\n" in text
    assert "dims: [245] }" in text
    assert "dynamic_batching" in text


def test_a_version_is_added_next_to_the_others(tmp_path: Path) -> None:
    policy, target = write_policy(tmp_path / "toy"), tmp_path / "all"
    folder = write_triton(policy, target)
    assert write_triton(policy, target, version=2) == folder
    assert sorted(one.name for one in folder.iterdir()) == ["1", "2", "config.pbtxt"]
    with pytest.raises(Refusal, match="no such version yet"):
        write_triton(policy, target, version=2)
    with pytest.raises(Refusal, match="robots expect these tensors"):
        write_triton(policy, target, "python", version=3)
    wider = write_policy(tmp_path / "wider", size=14)
    with pytest.raises(Refusal, match=r"dims: \[1, 14\]"):
        write_triton(wider, target, version=3)
    assert not (folder / "3").exists()


def test_other_weights_than_the_specs_are_refused(tmp_path: Path) -> None:
    model = {"file": "toy.onnx", "data": {"toy.onnx.data": "0" * 64}}
    policy = write_policy(tmp_path / "toy", model=model)
    with pytest.raises(Refusal, match=r"model\.data: expected the weight files .*\(none\)"):
        write_triton(policy, tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_the_python_backend_has_its_script(tmp_path: Path) -> None:
    folder = write_triton(write_policy(tmp_path / "toy"), tmp_path / "all", "python")
    script = (folder / "1" / "model.py").read_text()
    compile(script, "model.py", "exec")
    assert 'default_model_filename: "model.py"' in (folder / "config.pbtxt").read_text()


def test_what_triton_cannot_serve_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    several = several_rig.write(tmp_path / "several", several_rig.chain())
    words = ["--as", "triton", "-o", str(tmp_path / "all")]
    (line,) = refusals(capsys, "export", str(several), *words)
    assert "policy-runner serve" in line
    toy = str(write_policy(tmp_path / "toy"))
    (line,) = refusals(capsys, "export", toy, *words, "--model-version", "0")
    assert "1 or more" in line
    assert not (tmp_path / "all").exists()


def test_options_of_a_source_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(tmp_path), "--as", "triton", "-o", str(tmp_path / "all")]
    lines = refusals(capsys, *words, "--in-graph", "--output", "actions", "--opset", "19")
    assert [line.split(":")[0] for line in lines] == ["--in-graph", "--output", "--opset"]
