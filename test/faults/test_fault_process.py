"""Faults of processes and of the machine (docs/reference/faults.md)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from children import Nursery
from ending_rig import quick_discovery, send
from fault_rig import FaultGraph
from fault_rig import fault_graphs as fault_graphs
from fault_rig import nursery as nursery
from fault_rig import robot as robot
from fault_rig import shared as shared
from fault_table import FAULTS

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
PROGRAMS = Path(__file__).resolve().parents[1] / "rigs" / "programs"
CHILD = str(PROGRAMS / "fault_child.py")
GraphMaker = Callable[..., FaultGraph]


def stat_of(robot: FaultGraph) -> int:
    """Return how many nanoseconds of processor time the runner has used."""
    tasks = Path(f"/proc/{robot.child.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def test_sidecar_killed(robot: FaultGraph, spawn: Nursery, tmp_path: Path) -> None:
    from diagnostic_msgs.msg import DiagnosticArray

    heard: list[str] = []
    robot.peer.node.create_subscription(
        DiagnosticArray, "/diagnostics", lambda m: heard.extend(s.name for s in m.status), 50
    )
    sidecar = spawn(
        ["python", "-m", "policy_runner.ros.sidecar.main", "--ros-args"]
        + ["-r", f"__ns:={robot.space}"],
        env=quick_discovery(tmp_path),
    )
    robot.wait(lambda: any("jetson_diagnostics" in name for name in heard), 20.0, "the sidecar")
    robot.shows("sidecar killed", sidecar.kill)


def test_subscriber_gone(robot: FaultGraph, spawn: Nursery, tmp_path: Path) -> None:
    listener = spawn(
        ["python", str(PROGRAMS / "last_command_listener.py"), "1", "--ros-args"]
        + ["-r", f"/run0/joint_commands:={robot.space}/joint_commands"],
        env=quick_discovery(tmp_path),
    )
    robot.well()
    robot.wait(lambda: "2.5 -3.75" in listener.stdout, 20.0, "a second receiver")
    robot.shows("subscriber gone", listener.kill)


@pytest.mark.parametrize(
    ("fault", "signals"),
    [
        ("SIGTERM", [signal.SIGTERM]),
        ("SIGINT", [signal.SIGINT]),
        ("SIGHUP", [signal.SIGHUP]),
        ("SIGQUIT", [signal.SIGQUIT]),
        ("two SIGINTs", [signal.SIGINT, signal.SIGINT]),
    ],
)
def test_an_asked_for_end(fault_graphs: GraphMaker, fault: str, signals: list[Any]) -> None:
    graph = fault_graphs()

    def cause() -> None:
        for number in signals:
            graph.child.send(number)
            time.sleep(0.01)

    assert graph.ends(fault, cause) == 0


def test_signals_back_to_back(fault_graphs: GraphMaker) -> None:
    graph = fault_graphs()
    hail = [signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT] * 3
    assert graph.ends("signals back to back", lambda: send(graph.child, hail, 2e-5, True)) == 0


def test_control_thread_fails(fault_graphs: GraphMaker) -> None:
    graph = fault_graphs(program=[str(PROGRAMS / "fault_runner.py")])
    row = FAULTS["control thread fails"]
    graph.well()
    begin = time.monotonic()
    graph.ask("fault/loop")
    graph.await_status(begin, row)
    time.sleep(0.3)
    said = graph.beats[-1][1]
    assert (said["decision"], said["reason"]) == (row.decision, row.reason)
    # The stop is the last command; then the topic is silent.
    assert graph.commands[-1][1] == (0.0, 0.0)
    assert graph.commands[-1][0] - begin < row.decided_s
    assert graph.child.poll() is None
    graph.child.send(signal.SIGTERM)
    assert graph.child.wait(5.0) == 1


def test_black_box_fails(fault_graphs: GraphMaker) -> None:
    graph = fault_graphs(program=[str(PROGRAMS / "fault_runner.py")])
    values = graph.shows("black box fails", lambda: graph.ask("fault/recorder"))
    assert values["black box"] == "ended"
    wanted = "the black box ended: RuntimeError: odd recorder; a reload begins a new record"
    assert graph.child.stderr.count(wanted) == 1


def test_no_rtprio_permission(fault_graphs: GraphMaker) -> None:
    graph = fault_graphs(program=[CHILD, "no_rtprio"], realtime__priority=80)
    values = graph.shows("no rtprio permission", lambda: None)
    assert values["priority"] == "refused"
    assert "realtime.priority: Operation not permitted; allow it: a line" in graph.child.stderr


def test_read_only_home(fault_graphs: GraphMaker, tmp_path: Path) -> None:
    home = tmp_path / "home"
    graph = fault_graphs(program=[CHILD, "read_only_home"], env={"HOME": str(home)})
    graph.shows("read-only home", lambda: None)
    assert not list(home.iterdir())
    assert not os.environ["HOME"].startswith(str(tmp_path))
    home.chmod(0o755)


@pytest.mark.parametrize(
    ("fault", "what"),
    [("reader of stderr stopped", "full_stderr"), ("reader of stdout stopped", "full_stdout")],
)
def test_a_reader_that_stopped(fault_graphs: GraphMaker, fault: str, what: str) -> None:
    graph = fault_graphs(program=[CHILD, what], diagnostics__log_interval=0.1)
    graph.well()

    def much_to_log() -> None:
        """Cause many lines in the log."""
        graph.twist[2] = 0.5
        time.sleep(0.3)
        graph.twist[2] = 0.0
        graph.ask("change_state", configure=True)

    graph.shows(fault, much_to_log, watch_s=2.0)
    graph.child.send(signal.SIGINT)
    assert graph.child.wait(5.0) == 0
