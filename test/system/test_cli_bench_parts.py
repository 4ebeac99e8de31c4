"""`bench step`, `bench node`, and `bench` without a name: the output and files of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_runner.cli.bench import node, step
from policy_runner.cli.main import main

ROW = {
    "rate_hz": 50.0,
    "period_error_us": {"p50": 1.0, "p99": 2.0, "p99.9": 3.0, "max": 4.0},
    "missed": 0,
    "input_age_p99.9_us": 5.0,
    "parts_us": {"step": [6.0]},
    "cpu_share": 0.07,
    "priority": "FIFO 80",
    "errors_us": np.zeros(3),
}


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the measurements with fixed figures."""
    pytest.importorskip("rclpy")
    monkeypatch.setattr(step, "time_step", lambda *_, **__: {"whole step": 12.5})
    monkeypatch.setattr(node, "_graph", lambda *_, **__: dict(ROW))


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["step"], {"step_us"}),
        (["node", "--rates", "50"], {"graph"}),
        (["--rates", "50"], {"step_us", "graph"}),
        (["--no-graph"], {"step_us", "graph"}),  # the former name of `step`, and its empty graph
    ],
)
def test_what_is_measured_is_printed_with_its_unit_and_written(
    words: list[str], keys: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures.json"
    assert main(["bench", *words, "--json", str(file)]) == 0
    said = capsys.readouterr().out
    content: dict[str, Any] = json.loads(file.read_text())
    assert set(content) == {"machine", "spec", *keys}
    step_was_measured = "step_us" in content
    node_was_measured = bool(content.get("graph"))
    assert ("step without ROS" in said) == step_was_measured
    assert ("node in a graph" in said) == node_was_measured
    assert "p50 [us]" in said
    for head in (
        "error p99.9 [us]",
        "input age p99.9 [us]",
        "step p50 [us]",
        "rate [Hz]",
        "CPU [%]",
    ):
        assert (head in said) == node_was_measured


@pytest.mark.parametrize("words", [["step"], ["node"], []])
def test_a_folder_that_does_not_exist_is_refused_before_anything_is_measured(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *words, "--json", "no/such/folder/figures.json"]) == 1
    said = capsys.readouterr()
    assert "expected a file in a folder that exists" in said.err
    assert said.out == ""
