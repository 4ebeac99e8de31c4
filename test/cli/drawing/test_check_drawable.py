"""Every command that draws says in the same sentence what its pictures need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from policy_runner.cli.main import main

FILE = "/nowhere/run.mcap"


@pytest.mark.parametrize(
    "words",
    [
        ("report", FILE, "--picture"),
        ("replay", FILE, "--plot"),
        ("bench", "operators", FILE, "--picture"),
        ("evaluate", FILE, "--picture"),
    ],
)
def test_without_matplotlib_a_picture_is_refused_before_any_work(
    words: tuple[str, ...], monkeypatch: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("policy_runner.cli.drawing.style.find_spec", lambda _name: None)
    picture = tmp_path / "run.png"
    more = {"replay": (FILE,), "evaluate": ("--robot", FILE)}.get(words[0], ())
    assert main([*words, str(picture), *more]) == 1
    said = capsys.readouterr().err
    assert said == (
        f"policy-runner {' '.join(words[:-2])}: {picture}: {words[-1]}: expected the package "
        "matplotlib, got none; pip install 'policy_runner[plots]'\n"
    )
