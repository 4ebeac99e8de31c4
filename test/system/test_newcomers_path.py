"""A newcomer's path with pip alone: `run`, `ctl arm`, `ctl status`, `ctl estop`, Ctrl-C.

Whole processes, as in three terminals: a robot, the runner, an operator. No `ros2` command.
"""

from __future__ import annotations

import json
import signal
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from children import ROOT, Child, Nursery, wait_until
from ending_rig import send
from test_demo_command import alive, children_of

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("rclpy", "mujoco")),
    reason="the simulated robot needs rclpy and mujoco",
)
POLICY_RUNNER = ["python", "-m", "policy_runner.cli.main"]
SPEC = str(ROOT / "models" / "balancer")


class Terminal:
    """Runs `policy-runner ctl`."""

    def __init__(self, spawn: Nursery) -> None:
        self._spawn = spawn

    def ctl(self, *words: str) -> Child:
        child = self._spawn([*POLICY_RUNNER, "ctl", *words])
        child.wait(40.0)
        return child


def parameters(folder: Path) -> str:
    """The shipped parameters of the demo, for a robot that waits to be armed."""
    content = yaml.safe_load((ROOT / "config" / "balancer.yaml").read_text("utf-8"))
    rows = content["/**/policy_runner"]["ros__parameters"]
    rows["require_arming"] = True
    rows["safety"].update(recover="armed", max_tilt=0.0)  # a robot that lies there does no harm
    for one in rows["inputs"].values():
        one["max_age"] = 2.0  # a machine that is busy with other tests
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(file)


def test_run_arm_status_estop_and_ctrl_c(spawn: Nursery, tmp_path: Path) -> None:
    there = ["--namespace", "lab"]
    robot = ["python", "-m", "policy_runner.ros.simulated_robot.main"]
    spawn([*robot, "--ros-args", "-r", "__ns:=/lab"])
    runner = spawn([*POLICY_RUNNER, "run", SPEC, "--params", parameters(tmp_path), *there])
    terminal = Terminal(spawn)
    wait_until(lambda: "active, not armed" in runner.stderr, 40.0, "the start")
    pids = children_of(runner.pid)
    assert len(pids) == 3
    assert "started policy_runner, policy_runner_guard, jetson_diagnostics" in runner.stdout
    # The sentence that `run` prints is a command that works.
    assert "`policy-runner ctl status --name /lab/policy_runner`" in runner.stdout
    status = terminal.ctl("status", "--name", "/lab/policy_runner")
    assert status.poll() == 4
    assert "/lab/policy_runner: active, STARTING: not armed" in status.stdout

    def armed() -> bool:
        # The first inputs may not have come yet, and then arming is refused.
        child = terminal.ctl("arm", *there)
        assert child.poll() in (0, 1), child.quote()
        return child.poll() == 0

    wait_until(armed, 40.0)
    wait_until(lambda: "RUN: the policy commands" in runner.stderr)
    status = terminal.ctl("status", "--json", *there)
    assert status.poll() == 0, status.quote()
    said = json.loads(status.stdout)
    assert (said["decision"], said["armed"], said["commanding"]) == ("RUN", True, True)
    stopped = terminal.ctl("estop", *there)
    assert stopped.poll() == 0, stopped.quote()
    assert stopped.stdout == "/lab/policy_runner: SAFE_STOP: operator stop: ~/estop\n"
    # A terminal sends SIGINT to the whole group; the nodes have groups of their own.
    begin = time.monotonic()
    send(runner, (signal.SIGINT, signal.SIGINT), 2e-5, group=True)
    assert runner.wait(20.0) == 0, runner.quote()
    assert time.monotonic() - begin < 8.0
    assert not alive(pids)


def test_a_policy_that_the_node_refuses_ends_the_run_with_its_sentence(
    spawn: Nursery, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    text = "/**/policy_runner: {ros__parameters: {decimation: 0}}"
    file.write_text(text, encoding="utf-8")
    words = ["--params", str(file), "--no-guard", "--no-sidecar"]
    child = spawn([*POLICY_RUNNER, "run", SPEC, *words])
    assert child.wait(40.0) == 2, child.quote()
    assert "decimation" in child.stderr
    assert "policy_runner ended with status 2" in child.stderr
