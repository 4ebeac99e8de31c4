"""`bench compare`: torch and ONNX Runtime on the same inputs, for every batch that is open."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from folders import made

from policy_runner.cli.main import main
from policy_runner.export.graph.network_export import session_of
from policy_runner.export.graph.torch_calls import torch_call


@pytest.mark.parametrize("kind", ["recurrent ppo", "gru"])
def test_both_compute_the_same_numbers(kind: str) -> None:
    one = made(kind)
    content = (one.folder / "policy.onnx").read_bytes()
    session = session_of(content, kind)
    is_open = kind == "recurrent ppo"
    call, given = torch_call(one.exported.policy, 3 if is_open else 1, is_open)
    feed = dict(zip([i.name for i in session.get_inputs()], given, strict=True))
    wanted = call()
    assert np.allclose(session.run(None, feed)[0], wanted[0].numpy(), atol=1e-5)


def test_the_command_says_how_far_it_can_be_trusted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = made("sac")
    file = tmp_path / "figures.json"
    words = ["bench", "compare", str(one.folder), "--against", str(one.source), "--rounds", "3"]
    assert main([*words, "--json", str(file)]) == 0
    assert "A/A" in capsys.readouterr().out
    found = json.loads(file.read_text())
    assert set(found["us"]) == {"ONNX Runtime", "A/A", "torch"}
    assert list(found["inferences_per_s"]) == ["1"]
