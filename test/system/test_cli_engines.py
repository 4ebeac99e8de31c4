"""`engine` and `bench selftest`, with a fake TensorRT and CUDA in the child process."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from children import Nursery, wait_until
from cli_rig import refusals
from gpu_for_children import fake_gpu as fake_gpu

from policy_runner.cli.main import main
from policy_runner.package_files import share_path

SELFTEST = ("bench", "selftest")
pytestmark = pytest.mark.usefixtures("fake_gpu")


@pytest.fixture
def spec() -> str:
    return str(share_path("models", "balancer"))


def entries(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["engine", "list", "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_an_engine_is_built_listed_and_removed(
    spec: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert entries(capsys) == []
    assert not (tmp_path / "cache").exists()  # listing created nothing
    assert main(["engine", "build", spec]) == 0
    said = capsys.readouterr()
    assert "took " in said.out
    assert "actions differ from fp32 on the CPU by at most" in said.out
    assert "no earlier build here to go by" in " ".join(said.err.split())
    (entry,) = entries(capsys)
    assert entry["facts"]["policy"] == "balancer"
    assert entry["key"]["tensorrt"] == "10.3.0"
    assert entry["key"]["shapes"] == [["obs", [1, 12]]]
    assert main(["engine", "build", spec]) == 0
    assert "was there already" in capsys.readouterr().out
    assert main(["engine", "build", spec, "--rebuild"]) == 0
    said = capsys.readouterr()
    assert "was there already" not in said.out
    assert "as it took for this model before" in " ".join(said.err.split())
    assert main(["engine", "build", spec, "--set", "tensorrt.tf32=true"]) == 0
    assert len(entries(capsys)) == 2
    assert main(["engine", "list"]) == 0
    assert "2 engines" in capsys.readouterr().out
    assert main(["engine", "remove", "--unused-for", "1"]) == 0
    assert "0 removed, 2 kept" in capsys.readouterr().out
    assert main(["engine", "remove"]) == 0
    assert "2 removed, 0 kept" in capsys.readouterr().out


@pytest.mark.parametrize(("version", "precision"), [("8.6.1", "fp16"), ("11.4.0", "fp32")])
def test_an_engine_is_of_the_tensorrt_that_is_here(
    spec: str, capsys: pytest.CaptureFixture[str], fake_gpu: pytest.MonkeyPatch, version: str,
    precision: str,
) -> None:  # fmt: skip
    fake_gpu.setenv("FAKE_TRT_VERSION", version)
    assert main(["engine", "build", spec, "--set", f"precision={precision}"]) == 0
    (entry,) = entries(capsys)
    assert (entry["key"]["tensorrt"], entry["key"]["precision"]) == (version, precision)
    assert entry["facts"]["check"]["largest"] <= 0.02


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "precission=fp16"], "did you mean 'precision'?"),
        (["--set", "precision=int4"], "expected one of as_exported, fp32, fp16, got 'int4'"),
        (["--set", "device=cpu"], "parameter device: expected auto or gpu:N"),
    ],
)
def test_what_is_asked_for_wrongly_is_refused(
    spec: str, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert says in refusals(capsys, "engine", "build", spec, *words)[0]


def test_what_tensorrt_refuses_is_said(
    spec: str, capsys: pytest.CaptureFixture[str], fake_gpu: pytest.MonkeyPatch
) -> None:
    fake_gpu.setenv("FAKE_TRT_FAIL", "build")
    assert any(
        "expected a model that TensorRT can build" in line
        for line in refusals(capsys, "engine", "build", spec)
    )
    assert entries(capsys) == []


def child_of(pid: int) -> int:
    """Return the builder's process id; 0 while there is none."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return int(text.split()[0]) if text.split() else 0


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_who_ends_the_command_ends_the_build(
    spec: str, spawn: Nursery, fake_gpu: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    fake_gpu.setenv("FAKE_TRT_BUILD_SECONDS", "60")
    command = spawn([sys.executable, "-m", "policy_runner.cli.main", "engine", "build", spec])
    builder = wait_until(lambda: child_of(command.pid), 20.0, "the builder") or 0
    folder = tmp_path / "cache" / "policy_runner" / "engines"
    wait_until(lambda: (folder / "lock").exists(), 20.0, "the build")
    os.kill(command.pid, number)
    wait_until(lambda: command.poll() is not None, 10.0, "the command's end")
    wait_until(lambda: gone(builder), 10.0, "the builder's end")
    assert os.listdir(folder) == ["lock"]


def test_a_selftest_builds_runs_and_compares(
    spec: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "figures.json"
    words = [*SELFTEST, spec, "--backend", "tensorrt", "--seconds", "0.2", "--json", str(file)]
    begun = time.monotonic()
    assert main(words) == 0, capsys.readouterr().out
    assert time.monotonic() - begun < 30.0
    rows = {row["name"]: row for row in json.loads(file.read_text())["rows"]}
    assert list(rows) == [
        "CPU, the reference", "build", "tensorrt, no CUDA graph", "tensorrt, CUDA graph",
    ]  # fmt: skip
    for name in ("tensorrt, no CUDA graph", "tensorrt, CUDA graph"):
        assert rows[name]["comparison"]["largest"] < 1e-3
        for kind in ("at rate", "back to back"):
            figures = rows[name]["latency_us"][kind]
            assert 0.0 < figures["p50"] <= figures["p95"] <= figures["p99"]
    assert "off by" in capsys.readouterr().out
    # It built in its own folder, and left the cache unchanged.
    assert entries(capsys) == []


def test_a_selftest_on_the_cpu(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SELFTEST, spec, "--backend", "onnxruntime", "--device", "cpu", "--seconds", "0.1"]
    assert main(words) == 0
    assert "CPUExecutionProvider" in capsys.readouterr().out


def test_a_selftest_fails_when_a_way_to_run_fails(
    spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*SELFTEST, spec, "--backend", "onnxruntime", "--device", "gpu", "--seconds", "0.1"]
    assert main(words) == 1
    said = capsys.readouterr().out
    assert "failed" in said
    assert "onnxruntime, CUDA graph: " in said


def test_a_selftest_that_cannot_build_says_so_and_keeps_the_figures(
    spec: str, capsys: pytest.CaptureFixture[str], fake_gpu: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_gpu.setenv("FAKE_TRT_FAIL", "build")
    file = tmp_path / "figures.json"
    words = [*SELFTEST, spec, "--backend", "tensorrt", "--seconds", "0.1", "--json", str(file)]
    assert main(words) == 1
    assert "build: " in capsys.readouterr().out
    rows = json.loads(file.read_text())["rows"]
    assert [(row["name"], row["ok"]) for row in rows] == [
        ("CPU, the reference", True), ("build", False),
    ]  # fmt: skip
