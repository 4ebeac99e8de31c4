"""A humanoid is evaluated: it walks, and the report does not depend on the number of processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from walkers_rig import g1, needs_g1_policies, needs_walkers, policy_folder


@needs_walkers
@needs_g1_policies
@pytest.mark.parametrize("name", ["g1-velocity-hist5", "g1-mjlab-velocity-extdata"])
def test_the_g1_is_evaluated(tmp_path: Path, name: str) -> None:
    policy, robot = policy_folder(tmp_path / name, name), g1(tmp_path / "g1")
    reports = []
    for jobs in ("1", "2"):
        report = tmp_path / f"{jobs}.json"
        program = [sys.executable, "-m", "policy_runner.cli.main", "evaluate", str(policy),
                   "--robot", str(robot), "--episodes", "2", "--command", "vx=0.5", "--jobs", jobs,
                   "--require", "falls == 0, vx_bias > -0.1, vx_bias < 0.1",
                   "--json", str(report)]  # fmt: skip
        done = subprocess.run(program, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        reports.append(report.read_bytes())
    assert reports[0] == reports[1]
    figures = json.loads(reports[0])["figures"]
    assert figures["vx_rmse"] < 0.15
    assert figures["most_tilt"] < 0.3
