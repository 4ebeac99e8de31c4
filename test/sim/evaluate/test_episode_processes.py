"""Episodes in several processes: which code they run, and of which files their figures are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from policy_runner.core.errors import Refusal
from policy_runner.package_files import share_path

pytestmark = [
    pytest.mark.skipif(find_spec("mujoco") is None, reason="mujoco is not installed"),
    pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed"),
]
ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """\
from pathlib import Path
from policy_runner.package_files import share_path
from policy_runner.sim.balancer import ROBOT_FILE
from policy_runner.sim.evaluate.episode import Job
from policy_runner.sim.evaluate.episodes import run_jobs
from policy_runner.sim.evaluate.plan import Plan
from policy_runner.sim.evaluate.subject import NO_CHANGE, Subject
if __name__ == "__main__":
    subject = Subject(Path(share_path("models", "balancer")), ROBOT_FILE)
    jobs = [Job(NO_CHANGE, Plan(2, 0.1), k) for k in range(2)]
    print([done.episode.ticks for done in run_jobs(subject, jobs, 2)])
"""


def test_the_processes_run_the_code_of_their_parent(tmp_path: Path) -> None:
    """And not another copy of the package in the working folder, such as a checkout."""
    other, program = tmp_path / "here" / "policy_runner", tmp_path / "there" / "run.py"
    other.mkdir(parents=True)
    program.parent.mkdir()
    (other / "__init__.py").write_text("print('another copy')\n", "utf-8")
    program.write_text(PROGRAM, "utf-8")
    ran = subprocess.run(
        [sys.executable, str(program)],
        cwd=other.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.stdout, ran.returncode) == ("[10, 10]\n", 0), ran.stderr


def test_a_policy_that_changes_meanwhile_has_no_figures(tmp_path: Path) -> None:
    from policy_runner.sim.balancer import ROBOT_FILE
    from policy_runner.sim.evaluate.evaluation import Evaluator
    from policy_runner.sim.evaluate.plan import Plan
    from policy_runner.sim.evaluate.subject import Subject

    folder = tmp_path / "policy"
    shutil.copytree(share_path("models", "balancer"), folder)

    def replace() -> None:
        with (folder / "policy.yaml").open("a", encoding="utf-8") as file:
            file.write("# trained again\n")

    evaluator = Evaluator(Subject(folder, ROBOT_FILE), Plan(1, 0.1))
    with pytest.raises(Refusal, match=r"the same files until the last episode, got another policy"):
        evaluator.run(1, replace)
