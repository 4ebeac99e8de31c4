"""The bar of long steps: on a terminal with its share, elsewhere nothing."""

from __future__ import annotations

import pytest

from policy_runner.cli.drawing.progress import counted_progress, shown_progress


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
