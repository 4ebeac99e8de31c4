"""The worked examples, at a small size."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("balancer_sb3/from_training_to_demo.py", ["--steps", "512", "--environments", "2"]),
        ("lstm_actor/train_and_export.py", ["--steps", "60"]),
        pytest.param(
            "gymnasium_walkers/train_and_export.py",
            ["half_cheetah", "--steps", "400"],
            marks=pytest.mark.skipif(find_spec("imageio") is None, reason="needs imageio"),
        ),
        ("planner/train_and_export.py", ["--steps", "20"]),
        pytest.param(
            "rsl_rl_actor/train_and_export.py",
            ["--steps", "4", "--environments", "32"],
            marks=pytest.mark.skipif(find_spec("rsl_rl") is None, reason="needs rsl-rl-lib"),
        ),
    ],
)
def test_an_example_runs_to_its_end(tmp_path: Path, script: str, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), "-o", str(tmp_path / "out"), *words],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is what the source computes" in done.stdout
    assert (tmp_path / "out" / "policy" / "policy.yaml").is_file()
