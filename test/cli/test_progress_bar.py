"""The bar of long steps: on a terminal with its share, elsewhere nothing."""

from __future__ import annotations

import threading
import time
from importlib.util import find_spec

import pytest

from policy_runner.cli.drawing.progress import counted_progress, shown_progress
from policy_runner.cli.main import main
from policy_runner.package_files import share_path


def test_a_terminal_shows_the_step_and_its_share(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with shown_progress() as progress:
        progress("open [the] source")
        progress("train", 0, 200)
        for k in range(1, 200):
            progress("train", k, 200)
        progress("train", 200, 200)
    told = capsys.readouterr()
    assert told.out == ""
    assert "train" in told.err
    assert "100%" in told.err


def test_nothing_is_drawn_between_two_reports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A measurement between them has no thread of the bar next to it."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    with shown_progress() as progress:
        progress("measure", 1, 4)
        threads = threading.active_count()
        assert "measure" in capsys.readouterr().err
        time.sleep(0.3)
        assert capsys.readouterr().err == ""
        progress("measure", 2, 4)
        assert "50%" in capsys.readouterr().err
        assert threading.active_count() == threads


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs onnxruntime")
def test_the_measurements_report_their_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    balancer = str(share_path("models", "balancer"))
    for words, text in (
        (["operators", balancer, "--runs", "20"], "run with the profiler"),
        (["backends", balancer, "--only", "onnxruntime-cpu", "--seconds", "0.1", "--priority", "0"],
         "measure onnxruntime-cpu at 100 Hz"),
        (["step", balancer], "run the step"),
    ):  # fmt: skip
        assert main(["bench", *words]) == 0
        assert text in capsys.readouterr().err


def test_a_file_or_a_pipe_gets_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    with shown_progress() as progress:
        progress("train", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_parts_add_up_to_the_share(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with counted_progress("messages", 4) as more:
        more(3)
        more()
    assert "100%" in capsys.readouterr().err
