"""Parameters that would be ignored, and files that cannot be read (docs/reference/faults.md)."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from children import Nursery
from fault_rig import FaultGraph
from fault_rig import fault_graphs as fault_graphs
from fault_rig import nursery as nursery
from fault_table import FAULTS
from runner_rig import write_parameters

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
GraphMaker = Callable[..., FaultGraph]
HEAD = "/**/NODE:\n  ros__parameters:\n"
MODULES = {
    "policy_runner": "runner",
    "policy_runner_guard": "guard",
    "jetson_diagnostics": "sidecar",
    "simulated_robot": "simulated_robot",
}


def stays_unconfigured(graph: FaultGraph, fault: str) -> None:
    graph.await_status(0.0, FAULTS[fault], 20.0)
    assert graph.peer.state() == "unconfigured"
    assert not graph.beats
    assert not graph.commands


def test_set_while_inactive(fault_graphs: GraphMaker) -> None:
    graph = fault_graphs()
    row = FAULTS["parameter set while inactive"]
    graph.well()
    assert graph.peer.change("deactivate")
    for changes in ({"require_arming": True}, {"dry_run": True}, {"rate": 25.0}):
        ((name, _),) = changes.items()
        (why,) = graph.peer.set(**changes)
        assert why == (
            f"parameter {name}: read while configuring; deactivate and clean up the node, set it, "
            "configure again"
        )
    assert graph.peer.change("activate")
    begin = time.monotonic()
    graph.well()
    graph.await_status(begin, row)


def test_nothing_reads_it(fault_graphs: GraphMaker) -> None:
    graph = fault_graphs(command__layout=["velocity"])
    stays_unconfigured(graph, "parameter that nothing reads")
    # Corrected with a set and a configure, in the same process.
    assert graph.peer.set(command__type="float64_multi_array") == []
    assert graph.peer.change("configure")


def test_for_another_node(fault_graphs: GraphMaker, tmp_path: Path) -> None:
    """Launch adds a second file that matches the node; the robot ran unarmed."""
    safety = write_parameters(tmp_path / "safety.yaml", "policy_runner", require_arming=True)
    graph = fault_graphs(more=["--params-file", str(safety)])
    stays_unconfigured(graph, "parameter file for another node")
    said = f"{safety}: expected a section for the node {graph.runner}"
    assert said in graph.child.stderr
    assert "got /policy_runner" in graph.child.stderr


@pytest.mark.parametrize("node", MODULES)
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"{HEAD}    cores: [1, two]\n", "line 3: /**/NODE: cores: expected a list with values"),
        (
            f"{HEAD}    safety:\n\t  tilt: 1.0\n",
            "line 4: /**/NODE: safety: expected YAML, got a",
        ),
        ("NODE:\n  rate: 1.0\n", "line 2: NODE: rate: expected ros__parameters above"),
    ],
)
def test_malformed(spawn: Nursery, tmp_path: Path, node: str, text: str, sentence: str) -> None:
    row = FAULTS["malformed parameter file"]
    assert (row.decision, row.command) == ("gone", "none")
    if node == "simulated_robot" and find_spec("mujoco") is None:
        pytest.skip("needs mujoco")
    path = tmp_path / "robot.yaml"
    path.write_text(text.replace("NODE", node), encoding="utf-8")
    module = f"policy_runner.ros.{MODULES[node]}.main"
    child = spawn(["python", "-m", module, "--ros-args", "--params-file", str(path)])
    assert child.wait(20.0) == 2
    (line,) = child.stderr.splitlines()
    assert line.startswith(f"{node}: {path}: {sentence.replace('NODE', node)}")
