"""Robot and runner as processes, in lockstep, for the duration of the soak."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import closed_loop
import pytest
from fuzzing import SEED

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("rclpy", "mujoco")),
    reason="the closed loop needs rclpy and mujoco",
)
MINUTES = float(os.environ.get("POLICY_RUNNER_SOAK_MINUTES", "0"))
DURATION_S = MINUTES * 60.0 or 5.0


def test_lockstep(tmp_path: Path) -> None:
    report = closed_loop.run(tmp_path / "run", SEED, DURATION_S)
    assert report["falls"] == 0, report
    assert abs(report["commands"] - DURATION_S * 100) <= 1
    assert report["ignored_commands"] == 0
    print(f"lockstep: {DURATION_S / 60:.1f} min in {report['wall_s']} s")  # noqa: T201
