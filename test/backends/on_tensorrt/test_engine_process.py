"""The process that builds an engine: its reports, its failures, and its scheduling."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from children import wait_until
from gpu_for_children import fake_gpu as fake_gpu

from policy_runner.backends.engine_process import EngineBuild
from policy_runner.backends.interface import BackendChoice
from policy_runner.package_files import share_path

SPEC = share_path("models", "balancer", "policy.yaml")


@pytest.fixture
def start(fake_gpu: pytest.MonkeyPatch) -> Iterator[Any]:
    made: list[EngineBuild] = []

    def begin(lines: list[str]) -> EngineBuild:
        made.append(EngineBuild(BackendChoice("tensorrt"), SPEC, lines.append))
        return made[-1]

    yield begin
    for build in made:
        build.cancel()


def at_start(fake_gpu: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    """Make every child process run `code` at its start."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    fake_gpu.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ['PYTHONPATH']}")


def test_it_reports_and_stores(start: Any) -> None:
    lines: list[str] = []
    build = start(lines)
    wait_until(build.poll, 30.0, "the end of the build")
    assert build.problems == []
    assert Path(build.result["path"]).is_file()
    assert build.phase == "comparing with fp32 on the CPU"
    assert "Fake Orin" in lines[0]
    assert "actions differ by at most" in lines[-1]
    build.cancel()  # after the end it changes nothing
    assert build.problems == []


def test_what_a_library_prints_is_not_taken_for_a_report(
    start: Any, fake_gpu: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = "import sys\nif 'engine_process' in ' '.join(sys.orig_argv): "
    code += "print('hello\\n17', flush=True)"
    at_start(fake_gpu, tmp_path / "noise", code)
    lines: list[str] = []
    build = start(lines)
    wait_until(build.poll, 30.0, "the end of the build")
    assert build.result
    assert "hello" in lines


def test_a_child_that_dies_says_how(
    start: Any, fake_gpu: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_gpu.setenv("FAKE_TRT_BUILD_SECONDS", "60")
    build = start([])
    wait_until(lambda: build.poll() or build.phase != "starting", 30.0, "the build")
    os.kill(build.pid, signal.SIGKILL)
    wait_until(build.poll, 10.0, "its end")
    assert "SIGKILL, which is also what the system sends when memory runs out" in build.problems[0]
    code = "import os, sys\nos.write(2, b'libnvinfer.so: cannot open')\nos._exit(3)"
    at_start(fake_gpu, tmp_path / "broken", code)
    build = start([])
    wait_until(build.poll, 30.0, "its end")
    assert build.problems == [
        "engine build: expected an engine, got a process that ended with status 3; "
        "it said last: libnvinfer.so: cannot open"
    ]


def test_it_is_an_ordinary_process_whatever_started_it(
    start: Any, fake_gpu: pytest.MonkeyPatch
) -> None:
    fake_gpu.setenv("FAKE_TRT_BUILD_SECONDS", "60")
    before = os.sched_getscheduler(0)
    # SCHED_BATCH is inherited like SCHED_FIFO, which needs a permission.
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        build = start([])
        assert os.sched_getscheduler(build.pid) == os.SCHED_BATCH
        wait_until(lambda: build.poll() or build.phase != "starting", 30.0, "the build")
        assert os.sched_getscheduler(build.pid) == os.SCHED_OTHER
        assert os.getpriority(os.PRIO_PROCESS, build.pid) > os.getpriority(os.PRIO_PROCESS, 0)
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))


def test_a_cancelled_build_leaves_no_process(start: Any, fake_gpu: pytest.MonkeyPatch) -> None:
    fake_gpu.setenv("FAKE_TRT_BUILD_SECONDS", "60")
    build = start([])
    wait_until(lambda: build.poll() or build.phase != "starting", 30.0, "the build")
    assert "building the engine: " in build.text()
    build.cancel()
    assert build.problems == ["the build was cancelled"]
    assert not Path(f"/proc/{build.pid}").exists()
