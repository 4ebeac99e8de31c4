"""Time per operator: every operator is there, shares add up, and the command draws them."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from small_models import quadruped

from policy_runner.backends.onnxruntime.operator_times import operator_times
from policy_runner.cli.main import main
from policy_runner.core.errors import Refusal
from policy_runner.package_files import share_path


def test_every_operator_of_the_graph_has_its_time(tmp_path: Path) -> None:
    feed = {"obs": np.zeros((1, 245), np.float32)}
    found = {one.operator: one for one in operator_times(quadruped(tmp_path), feed, 20)}
    assert {"Sub", "Div"} <= set(found)
    assert sum(one.share for one in found.values()) == pytest.approx(1.0)
    assert found["Sub"].nodes == 1
    assert all(0.0 < one.us < 1e5 for one in found.values())


def test_a_model_that_does_not_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="a model that ONNX Runtime can run"):
        operator_times(quadruped(tmp_path), {"obs": np.zeros((1, 3), np.float32)}, 2)


def test_the_command_writes_figures_and_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "operators", str(share_path("models", "balancer")), "--runs", "10"]
    if find_spec("matplotlib") is not None:
        words += ["--picture", str(tmp_path / "operators.png")]
    assert main([*words, "--json", str(tmp_path / "operators.json")]) == 0
    assert "Gemm" in capsys.readouterr().out
    operators = json.loads((tmp_path / "operators.json").read_text())["operators"]
    assert operators[0]["us"] >= operators[-1]["us"]
    if find_spec("matplotlib") is not None:
        assert (tmp_path / "operators.png").read_bytes().startswith(b"\x89PNG")
