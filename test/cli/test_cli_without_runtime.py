"""Without a package that runs models, every command that needs one names the extra to install."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from policy_runner.cli.main import main
from policy_runner.package_files import share_path

BALANCER = str(share_path("models", "balancer"))
MODEL = str(share_path("models", "balancer") / "policy.onnx")
EXTRA = "pip install 'policy_runner[cpu]'"


@pytest.fixture
def no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if neither onnxruntime nor tensorrt were installed."""
    found = importlib.util.find_spec
    gone = ("onnxruntime", "tensorrt")
    for name in gone:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name in gone else found(name, *more),
    )


@pytest.mark.parametrize(
    "words",
    [
        ["check", BALANCER],
        ["inspect", BALANCER],
        ["bench", "step"],
        ["bench", "backends", BALANCER],
        ["bench", "selftest", "--backend", "onnxruntime"],
        ["bench", "selftest", "--backend", "tensorrt"],
        ["demo", "--headless", "--duration", "1"],
        ["run", BALANCER],
        ["import", MODEL, "-o", "OUT"],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("no_runtime")
def test_one_sentence_says_which_extra(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if words[0] in ("demo", "run"):
        pytest.importorskip("rclpy")
    if words[0] == "demo":
        pytest.importorskip("mujoco")
    assert main([str(tmp_path / "out") if word == "OUT" else word for word in words]) != 0
    said = capsys.readouterr().err
    assert said.count(EXTRA) == 1
    assert "[gpu]" in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.usefixtures("no_runtime")
def test_an_engine_needs_the_extra_tensorrt(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "build", BALANCER]) != 0
    assert "pip install 'policy_runner[tensorrt]'" in capsys.readouterr().err


@pytest.mark.usefixtures("no_runtime")
def test_doctor_says_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 1
    assert EXTRA in capsys.readouterr().out


@pytest.mark.usefixtures("no_runtime")
def test_the_package_says_it_too() -> None:
    from policy_runner import load_policy
    from policy_runner.core.errors import Refusal

    with pytest.raises(Refusal, match=r"policy_runner\[cpu\]"):
        load_policy(BALANCER)
