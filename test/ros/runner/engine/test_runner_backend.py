"""The node's choice of the backend: refused with the reason, or chosen and reported."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from runner_rig import GraphMaker
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.skipif(
    Path("/dev/nvidiactl").exists() or Path("/dev/nvhost-gpu").exists(), reason="a GPU is here"
)
def test_a_gpu_that_is_not_there_is_refused_and_the_cpu_does_not_run(
    graphs: GraphMaker, capfd: pytest.CaptureFixture[str]
) -> None:
    graph = graphs(policy={}, backend="onnxruntime", device="gpu")
    capfd.readouterr()
    assert not graph.peer.change("configure")
    assert graph.peer.state() == "unconfigured"
    errors = [line for line in capfd.readouterr().err.splitlines() if "[ERROR]" in line]
    assert len(errors) == 2
    assert "CUDAExecutionProvider" in errors[0]
    assert "; " in errors[0].split("got ", 1)[1]  # the remedy
    graph.await_status("model", errors[0].split("]: ", 1)[-1])
    assert graph.statuses()["model"].level == b"\2"
    assert graph.peer.set(device="cpu") == []
    graph.activate()


def test_auto_says_what_it_took_and_why(
    graphs: GraphMaker, capfd: pytest.CaptureFixture[str]
) -> None:
    graph = graphs(policy={})
    capfd.readouterr()
    graph.activate()
    logged = capfd.readouterr().err
    reason = "auto took onnxruntime-cpu: a network of "
    assert f"on CPUExecutionProvider ({reason}" in logged
    values = graph.await_status("model", "toy")
    assert values["backend"] == "auto"
    assert values["chosen"].startswith(reason)
    assert values["device"] == "cpu"


def test_a_contradiction_is_refused(graphs: GraphMaker, capfd: pytest.CaptureFixture[str]) -> None:
    graph = graphs(policy={}, backend="tensorrt", device="cpu", precision="fp8")
    capfd.readouterr()
    assert not graph.peer.change("configure")
    said = capfd.readouterr().err
    assert "parameter device: expected auto or gpu:N for the backend tensorrt, got cpu" in said
    assert "parameter precision: expected one of as_exported, fp32, fp16, got 'fp8'" in said
