"""`--help` of the nodes' executables, unknown arguments, and a start without a policy."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from policy_runner.ros.process.usage import answered, own_words

needs_rclpy = pytest.mark.skipif(find_spec("rclpy") is None, reason="rclpy is not installed")
NODES = {
    "policy_runner": "runner",
    "policy_runner_guard": "guard",
    "jetson_diagnostics": "sidecar",
    "simulated_robot": "simulated_robot",
}


@pytest.mark.parametrize("program", NODES)
def test_help_of_every_node(program: str, spawn: Any) -> None:
    child = spawn(["python", "-m", f"policy_runner.ros.{NODES[program]}.main", "--help"])
    assert child.wait(20.0) == 0, child.quote()
    assert child.stdout.startswith(f"usage: {program} [-h]")
    assert "--params-file FILE.yaml" in child.stdout
    assert child.stderr == ""


def test_an_argument_that_no_node_reads_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert answered("node", ["node", "--hlep"], "what") == 2
    assert capsys.readouterr().err == (
        "node: arguments: expected --ros-args, got '--hlep'; did you mean '--help'?\n"
    )
    assert answered("node", ["node", "policy:=/p"], "what") == 2
    assert "parameters come after --ros-args" in capsys.readouterr().err
    assert answered("robot", ["robot", "--viewer"], "what", options=("--viewer",)) is None


def test_ros_arguments_are_not_ours() -> None:
    words = ["node", "--a", "--ros-args", "-p", "x:=1", "--params-file", "f", "--", "--b"]
    assert own_words(words) == ["--a", "--b"]
    assert answered("node", ["node", "--ros-args", "-r", "__ns:=/r1"], "what") is None
    assert answered("node", ["node"], "what") is None


@needs_rclpy
def test_a_bare_start_says_what_is_missing(spawn: Any, wait_until: Any) -> None:
    child = spawn(["python", "-m", "policy_runner.ros.runner.main"])
    wait_until(lambda: "unconfigured, no policy: " in child.stderr, 30.0)
    assert "ros2 lifecycle set /policy_runner configure" in child.stderr
