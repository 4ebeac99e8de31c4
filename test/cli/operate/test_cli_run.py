"""`policy-runner run`: what it starts, what it refuses before, and in which order it ends things.

The processes here are small stand-ins; `test_newcomers_path.py` runs the real ones.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from children import ROOT, wait_until

from policy_runner.cli.command_parser import CommandParser
from policy_runner.cli.main import main
from policy_runner.cli.operate import supervise as command
from policy_runner.core.errors import Refusal
from policy_runner.package_files import share_path
from policy_runner.ros.process.lifetime import EndRequest
from policy_runner.ros.processes import Process

SPEC = ROOT / "models" / "balancer"
# Stand-in for a node: writes its name, its arguments and its end into a file.
PROGRAM = """
import os, signal, sys, time
name, ends_with = {name!r}, {ends_with!r}
journal = open({journal!r}, "a", buffering=1)
def end(number, _frame):
    journal.write(name + " heard " + str(number) + chr(10))
    sys.exit(0)
signal.signal(signal.SIGINT, end)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])
journal.write(name + " pid " + str(os.getpid()) + chr(10))
time.sleep({after_s})
if ends_with is not None and ends_with < 0:
    os.kill(os.getpid(), -ends_with)
if ends_with is not None:
    sys.exit(ends_with)
time.sleep(60)
"""


def options(*words: str) -> argparse.Namespace:
    parser = CommandParser(prog="policy-runner run")
    command.add_arguments(parser)
    return parser.parse_args([str(SPEC), *words])


def rows(tmp_path: Path, *words: str, node: str = "/policy_runner") -> dict[str, Process]:
    made = command._rows(options(*words), node, SPEC / "policy.yaml", tmp_path)
    return {row.node_name: row for row in made}


def test_it_starts_what_the_launch_file_starts(tmp_path: Path) -> None:
    made = rows(tmp_path)
    assert list(made) == ["policy_runner", "policy_runner_guard", "jetson_diagnostics"]
    runner = made["policy_runner"]
    assert runner.params_file == share_path("config", "policy_runner.yaml")
    assert dict(runner.parameters) == {
        "autostart": True,
        "end_if_refused": True,
        "use_sim_time": False,
        "lockstep": False,
        "dry_run": False,
        "policy": str(SPEC / "policy.yaml"),
    }


def test_options_reach_the_nodes(tmp_path: Path) -> None:
    words = ["--dry-run", "--backend", "onnxruntime", "--use-sim-time", "--no-guard"]
    made = rows(tmp_path, *words, "--no-sidecar")
    assert list(made) == ["policy_runner"]
    parameters = made["policy_runner"].parameters
    assert parameters["dry_run"] is True
    assert parameters["use_sim_time"] is True
    assert parameters["backend"] == "onnxruntime"


def test_another_name_gets_the_shipped_parameters(tmp_path: Path) -> None:
    made = rows(tmp_path, node="/robot1/arm")
    assert list(made) == ["arm", "arm_guard", "jetson_diagnostics"]
    assert made["jetson_diagnostics"].parameters["policy.runner"] == "arm"
    content = yaml.safe_load(made["arm"].params_file.read_text("utf-8"))
    shipped = yaml.safe_load(share_path("config", "policy_runner.yaml").read_text("utf-8"))
    assert content["/**/arm"] == shipped["/**/policy_runner"]
    assert content["/**/jetson_diagnostics"] == shipped["/**/jetson_diagnostics"]


@pytest.mark.parametrize(
    ("content", "node", "sentence"),
    [
        ("/**/policy_runner: {ros__parameters: {dry_run: true}}", "/arm", "a section for the node"),
        ("/a/policy_runner: {ros__parameters: {dry_run: true}}", "/b/policy_runner", "/b/policy"),
        ("policy_runner: [1", "/policy_runner", "expected"),
    ],
)
def test_parameters_that_reach_no_node_are_refused_before_the_start(
    tmp_path: Path, content: str, node: str, sentence: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(Refusal, match=sentence):
        rows(tmp_path, "--params", str(file), node=node)


@pytest.mark.skipif(find_spec("rclpy") is None, reason="rclpy is not installed")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["/no/such/policy"], "expected a policy spec (policy.yaml), got no such file"),
        ([str(SPEC), "--params", "/no/such.yaml"], "expected a YAML file, got /no/such.yaml"),
        ([str(SPEC), "--name", "a-b"], "expected letters, digits and underscores"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    words: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "end_on_signal", lambda at_once: EndRequest())
    monkeypatch.setattr(command, "ignore_further_signals", lambda: None)
    assert main(["run", *words]) == 1
    assert sentence in capsys.readouterr().err


def test_without_ros_it_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from policy_runner.cli import command_parser

    monkeypatch.setattr(command, "end_on_signal", lambda at_once: EndRequest())
    monkeypatch.setattr(command, "ignore_further_signals", lambda: None)
    monkeypatch.setattr(command_parser, "find_spec", lambda _name: None)
    assert main(["run", str(SPEC)]) == 1
    said = capsys.readouterr().err
    assert "expected the Python module rclpy, got none; source a ROS 2 environment" in said


class Stage:
    """Stand-ins for the processes, and the journal of what they did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "journal"
        self.file.touch()

    def row(self, name: str, ends_with: int | None = None, after_s: float = 0.0) -> Process:
        text = PROGRAM.format(
            name=name, ends_with=ends_with, after_s=after_s, journal=str(self.file)
        )
        (self.folder / f"stand_in_{name}.py").write_text(text, encoding="utf-8")
        empty = self.folder / "empty.yaml"
        empty.write_text("{}", encoding="utf-8")
        return Process(name, f"stand_in_{name}", name, empty, {})

    def lines(self) -> list[str]:
        return self.file.read_text("utf-8").splitlines()

    def pids(self) -> list[int]:
        return [int(line.split()[2]) for line in self.lines() if " pid " in line]

    def started(self) -> int:
        return len(self.pids())


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONPATH", path)
    return Stage(tmp_path)


def supervise(stage: Stage, made: list[Process], when: Callable[[EndRequest], Any]) -> int:
    """Run the stand-ins; `when` is called in another thread and may ask for the end."""
    ended = EndRequest()
    thread = threading.Thread(target=when, args=(ended,))
    thread.start()
    chosen = options()
    chosen.called = "policy-runner run"
    try:
        return command._supervise(chosen, "/policy_runner", made, stage.folder, ended)
    finally:
        thread.join(10.0)


def test_ctrl_c_ends_the_runner_before_its_guard(stage: Stage) -> None:
    made = [stage.row("policy_runner"), stage.row("guard"), stage.row("sidecar")]

    def when(ended: EndRequest) -> None:
        wait_until(lambda: stage.started() == 3)
        ended.set()

    assert supervise(stage, made, when) == 0
    heard = [line for line in stage.lines() if "heard" in line]
    assert heard[0] == "policy_runner heard 2"
    assert set(heard) == {f"{name} heard 2" for name in ("policy_runner", "guard", "sidecar")}


@pytest.mark.parametrize(
    ("ends_with", "code", "says"),
    [(0, 0, ""), (2, 2, "with status 2"), (-9, 137, "with signal 9")],
)
def test_the_end_of_the_runner_ends_all_with_its_code(
    stage: Stage,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    ends_with: int,
    code: int,
    says: str,
) -> None:
    monkeypatch.setattr(command, "_GUARD_ACTS_S", 0.5)
    made = [stage.row("policy_runner", ends_with, 0.5), stage.row("guard")]
    begin = time.monotonic()
    assert supervise(stage, made, lambda _ended: None) == code
    took_s = time.monotonic() - begin
    assert says in capsys.readouterr().err
    assert "guard heard 2" in stage.lines()
    # Only after a crash does the guard get time to stop the outputs.
    assert took_s > 1.0 or code != 137


def test_another_process_that_ends_is_reported_and_the_runner_continues(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [stage.row("policy_runner", after_s=0.2), stage.row("guard", 3)]
    said: list[str] = []

    def when(ended: EndRequest) -> None:
        def reported() -> bool:
            said.append(capsys.readouterr().err)
            return "guard ended with status 3" in "".join(said)

        wait_until(reported)
        ended.set()

    assert supervise(stage, made, when) == 0
    assert "the runner continues without it" in "".join(said)
    assert "policy_runner heard 2" in stage.lines()


def test_a_killed_supervisor_leaves_no_process(stage: Stage, spawn: Any) -> None:
    made = [stage.row("policy_runner"), stage.row("guard")]
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from policy_runner.cli.operate.children import Children\n"
        "from policy_runner.ros.processes import Process\n"
        f"rows = [Process(n, 'stand_in_' + n, n, Path({str(made[0].params_file)!r}), {{}})"
        " for n in ('policy_runner', 'guard')]\n"
        f"Children(rows, Path({str(stage.folder)!r}), to_terminal=True)\n"
        "time.sleep(60)\n"
    )
    child = spawn(["python", "-c", code])
    wait_until(lambda: stage.started() == 2)
    child.send(signal.SIGKILL)
    wait_until(lambda: sum("heard 2" in line for line in stage.lines()) == 2)
    alive = [Path(f"/proc/{pid}/cmdline") for pid in stage.pids()]
    wait_until(lambda: not any(path.exists() and path.read_bytes() for path in alive))
