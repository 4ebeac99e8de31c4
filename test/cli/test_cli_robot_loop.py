"""`optimize --robot`: variants are judged by driving any simulated robot."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

import pytest

from policy_runner.cli.main import main
from policy_runner.package_files import share_path

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("mujoco", "onnxruntime", "onnx")),
    reason="mujoco, onnxruntime or onnx is not installed",
)


def test_variants_drive_the_robot_and_learn_from_it(capsys: Any) -> None:
    words = ["optimize", str(share_path("models", "balancer")), "--robot", "balancer", "--json",
             "--seeds", "1", "--seconds", "2", "--calibration", "closed-loop",
             "--variant", "fp16"]  # fmt: skip
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["samples"] == 100  # half of 200 ticks judges
    assert found["observations"] == "of the closed loop"
    (row,) = found["rows"]
    assert row["loop"].startswith("0 falls of 1, vx_rmse 0.0")
    assert not row["falls_more"]


@pytest.mark.parametrize(
    ("variant", "worse"),
    [
        ({"falls": 0, "vx_rmse": 0.105}, False),
        ({"falls": 0, "vx_rmse": 0.12}, True),
        ({"falls": 1, "vx_rmse": 0.05}, True),
        ({"falls": 0, "vx_rmse": None}, True),
        ({"falls": 0, "vx_rmse": 0.1, "safe_stops": 1}, True),
    ],
)
def test_more_falls_stops_or_error_are_worse(variant: dict[str, Any], worse: bool) -> None:
    from policy_runner.cli.export.robot_loop import reason

    rest = {"episodes": 2, "safe_stops": 0, "vy_rmse": None, "wz_rmse": None}
    original: Any = {"falls": 0, "vx_rmse": 0.1, **rest}
    given: Any = {**rest, **variant}
    assert reason(given, original)[1] is worse


@pytest.mark.parametrize("command", [["optimize"], ["verify", "--against", "recorded.npz"]])
def test_two_robots_are_refused(command: list[str], capsys: Any) -> None:
    words = [*command, "policy", "--closed-loop", "balancer", "--robot", "balancer"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "--robot" in capsys.readouterr().err
