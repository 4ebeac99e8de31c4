"""`doctor` and `bench backends`: what is present, what is missing, remedies, and figures."""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_rig import write_policy

from policy_runner.backends.cuda.driver import Driver, Gpu, read_driver
from policy_runner.backends.interface import BackendChoice
from policy_runner.backends.measurements import remembered
from policy_runner.backends.onnx_file.check import check_model_file
from policy_runner.cli.bench.backends import time_at
from policy_runner.cli.doctor import examine, gpu_packages
from policy_runner.cli.main import main
from policy_runner.telemetry.host.identity import Jetson
from policy_runner.telemetry.host_files import HostFiles

ORIN = Driver("12.6", (Gpu("Orin", "8.7", True),))


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _board(root: Path, release: str, compatible: str) -> HostFiles:
    (root / "etc").mkdir()
    (root / "etc/nv_tegra_release").write_text(f"# {release}, GCID: 1, BOARD: generic\n")
    (root / "proc/device-tree").mkdir(parents=True)
    (root / "proc/device-tree/compatible").write_text(f"{compatible}\0nvidia,tegra234\0")
    return HostFiles(str(root))


def test_the_doctor_on_this_machine(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    status = main(["doctor", "--json"])
    found = {one["what"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["onnxruntime on cpu"]["text"] == "computes"
    assert found["onnxruntime on cpu"]["level"] == "ok"
    cuda = found["onnxruntime on cuda"]
    assert cuda["level"] == "ok" or (cuda["text"] and cuda["help"])
    assert found["engine cache"]["text"].startswith("0 engines in ")
    assert status == int(any(one["level"] == "problem" for one in found.values()))
    assert main(["doctor"]) == status
    said = capsys.readouterr().out
    assert all(what in said for what in found)


def test_the_doctor_on_an_orin(tmp_path: Path) -> None:
    tree = _board(tmp_path, "R36 (release), REVISION: 4.3", "nvidia,p3767-0003")
    found = {one.what: one for one in examine(tree, ORIN)}
    assert found["Jetson"].text == "Orin Nano 8GB, JetPack 6.2 (L4T 36.4.3)"
    assert found["Jetson"].level == "ok"
    assert found["NVIDIA driver"].text == "CUDA 12.6: gpu:0 Orin (compute 8.7, integrated)"
    if find_spec("tensorrt") is None:
        assert found["tensorrt"].help.startswith("sudo apt install python3-libnvinfer")
        assert "jp6/cu126" in found["onnxruntime on cuda"].help


def test_jetpack_5_is_told_that_it_is_too_old(tmp_path: Path) -> None:
    tree = _board(tmp_path, "R35 (release), REVISION: 4.1", "nvidia,p3701-0000")
    (jetson,) = [one for one in examine(tree, Driver(reason="none")) if one.what == "Jetson"]
    assert jetson.level == "problem"
    assert "JetPack 5.1.2" in jetson.text
    assert "not supported" in jetson.text
    assert "JetPack 6" in jetson.help


def test_packages_differ_from_board_to_board() -> None:
    orin6, orin7 = (Jetson("Orin", "Orin NX", "", version) for version in ("6.2", "7.2"))
    assert "jp6/cu126" in gpu_packages(orin6)[0]
    assert "no code for this GPU" in gpu_packages(orin7)[0]
    assert "pip uninstall -y onnxruntime &&" in gpu_packages(Jetson())[0]


def test_no_driver_and_a_library_that_is_none(tmp_path: Path) -> None:
    assert "cannot open" in read_driver("libno_such_driver.so.1").reason
    found = read_driver("libc.so.6")
    assert found.reason
    assert not found.gpus


@pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the model")
def test_bench_of_every_backend(tmp_path: Path, capsys: Any) -> None:
    policy = write_policy(tmp_path)
    out = tmp_path / "out.json"
    words = ["bench", "backends", str(policy), "--seconds", "0.1", "--priority", "0"]
    assert main([*words, "--rates", "500", "--json", str(out), "--remember"]) == 0
    rows = {row["name"]: row for row in json.loads(out.read_text())["rows"]}
    assert list(rows) == ["onnxruntime-cpu", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt"]
    cpu = rows["onnxruntime-cpu"]["us"]
    assert 0 < cpu["p50"] <= cpu["p99"] <= cpu["p99.9"] <= cpu["max"]
    assert cpu["back to back"] > 0
    for row in rows.values():
        assert bool(row["us"]) != bool(row["refused"])  # either figures or a reason
    said = capsys.readouterr().out
    assert "onnxruntime-cpu" in said
    for figure in ("p50", "p99", "p99.9", "max", "back to back"):
        assert f"{figure} [us]" in said
    model = tmp_path / "toy.onnx"
    kept = remembered(BackendChoice(), check_model_file(model, None, model))
    assert kept is not None
    assert (kept.rate, set(kept.p99_us)) == (500.0, {n for n, row in rows.items() if row["us"]})


@pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the model")
@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="a GPU is here")
def test_bench_of_what_is_not_here_or_is_none(tmp_path: Path, capsys: Any) -> None:
    write_policy(tmp_path)
    model = tmp_path / "toy.onnx"
    words = ["bench", "backends", str(model), "--seconds", "0.1", "--rates", "1000", "--only"]
    assert main([*words, "onnxruntime-cuda"]) == 1
    assert "policy-runner bench backends: onnxruntime-cuda: " in capsys.readouterr().err
    assert main([*words, "fastest"]) == 1
    said = capsys.readouterr().err
    assert "--only: expected all, or some of onnxruntime-cpu, " in said
    assert main([*words, "onnxruntime-cpu"]) == 0


def test_inferences_wait_for_their_deadlines() -> None:
    class Counted:
        """Takes no time, and records when it ran."""

        def __init__(self) -> None:
            self.inputs = {"obs": np.zeros((1, 3), np.float32)}
            self.ran: list[tuple[float, float]] = []

        def run(self) -> None:
            self.ran.append((time.monotonic(), float(self.inputs["obs"][0, 0])))

    model: Any = Counted()
    taken = time_at(model, 500.0, 0.2)
    assert len(taken) == 100
    times = np.array([at for at, _ in model.ran])
    assert times[-1] - times[0] >= 0.9 * 109 * 0.002  # ten warm-up runs come before
    assert len({fed for _, fed in model.ran}) == 8  # the inputs differ between runs
