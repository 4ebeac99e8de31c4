"""The guard and a runner in its own process: the guard stops the outputs if the runner cannot."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import leftovers
import pytest
from children import Child, Nursery
from fault_rig import FaultGraph
from fault_rig import fault_graphs as fault_graphs
from fault_rig import nursery as nursery
from fault_table import FAULTS

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("rclpy", "onnx")), reason="needs rclpy and onnx"
)
GraphMaker = Callable[..., FaultGraph]
# Number of each kind, in the suite and in `make soak` (POLICY_RUNNER_SOAK_KILLS).
SUSPENSIONS = int(os.environ.get("POLICY_RUNNER_SOAK_KILLS", "10"))
KILLS = int(os.environ.get("POLICY_RUNNER_SOAK_KILLS", "5"))
WITHIN_S = FAULTS["SIGKILL, with a guard"].decided_s
KEY = ("guard", "watches")  # on diagnostics


# As on a robot: the profile of the rig would keep the shared memory of LOCALHOST.
AS_ON_A_ROBOT = {"FASTRTPS_DEFAULT_PROFILES_FILE": ""}


def start_guard(graph: FaultGraph, spawn: Nursery, *words: str) -> Child:
    """Start a guard in the namespace of the graph."""
    guard = spawn(
        ["python", "-m", "policy_runner.ros.guard.main", "--ros-args"]
        + ["-r", f"__ns:={graph.space}", *words],
        env=AS_ON_A_ROBOT,
    )
    graph.wait(lambda: "guards policy_runner" in guard.stderr, 20.0, "the guard")
    return guard


def children_of(pid: int, word: bytes) -> list[int]:
    """Child processes with this word in their command line."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    found = [int(one) for path in lists for one in path.read_text().split()]
    return [one for one in found if word in Path(f"/proc/{one}/cmdline").read_bytes()]


def stopped_after(graph: FaultGraph, cause: Callable[[], object]) -> float:
    """Return the seconds from the cause to the first command of zeros in another process."""
    begin = time.monotonic()
    cause()

    def zeros() -> Any:
        return [at for at, v in graph.commands if at > begin and v == (0.0, 0.0)]

    return float(graph.wait(zeros, 5.0, "zeros")[0] - begin)


def test_a_suspended_runner(fault_graphs: GraphMaker, spawn: Nursery) -> None:
    row = FAULTS["runner suspended"]
    graph = fault_graphs(env=AS_ON_A_ROBOT)
    graph.stood_still = True
    start_guard(graph, spawn)
    for _ in range(SUSPENSIONS):
        graph.well()
        took = stopped_after(graph, lambda: graph.child.send(signal.SIGSTOP))
        sys.stdout.write(f"zeros after {took:.3f} s\n")
        assert took <= WITHIN_S, took
        time.sleep(0.2)
        begin = time.monotonic()
        graph.child.send(signal.SIGCONT)
        graph.await_beat(begin, row.decision, row.reason)
        held = next(at for at, beat in graph.beats if at > begin and beat["reason"] == row.reason)
        moving = [(at - begin, v) for at, v in graph.commands if begin < at < held and any(v)]
        assert not moving, "it continued as if the guard had not stopped the outputs"
        graph.recovers(row)
    values = graph.values("safety")
    assert int(values["stopped by the guard"]) == SUSPENSIONS


def test_a_lane_does_not_move_the_robot_while_the_runner_is_suspended(
    fault_graphs: GraphMaker, spawn: Nursery
) -> None:
    """The inference process continues meanwhile; its chunk is from before the guard's stop."""
    row = FAULTS["runner suspended"]
    graph = fault_graphs(env=AS_ON_A_ROBOT, chunk=100, safety__hold_recover=0.05)
    graph.stood_still = True
    start_guard(graph, spawn)
    for _ in range(2):
        graph.well()
        assert graph.values("inference")["lane"] == "process"
        assert stopped_after(graph, lambda: graph.child.send(signal.SIGSTOP)) <= WITHIN_S
        time.sleep(0.5)  # the rest of the chunk is still valid then
        begin = time.monotonic()
        graph.child.send(signal.SIGCONT)
        graph.await_beat(begin, row.decision, row.reason)
        held = next(at for at, beat in graph.beats if at > begin and beat["reason"] == row.reason)
        moving = [(at - begin, v) for at, v in graph.commands if begin < at < held and any(v)]
        assert not moving, "it played the old chunk after the guard had stopped the outputs"
        graph.recovers(row)
    inference = children_of(graph.child.pid, b"lane_process")
    assert len(inference) == 1
    assert stopped_after(graph, graph.child.kill) <= WITHIN_S
    graph.child.wait(5.0)
    graph.wait(lambda: not Path(f"/proc/{inference[0]}").exists(), 5.0, "the end of the lane")


def test_a_killed_runner(fault_graphs: GraphMaker, spawn: Nursery) -> None:
    graph = fault_graphs(env=AS_ON_A_ROBOT)
    start_guard(graph, spawn)
    for number in range(KILLS):
        graph.well()
        begin = time.monotonic()

        def is_guarded(since: float = begin) -> bool:
            told = [s for at, part, s in graph.told if at > since and part == "safety"]
            return any(KEY in {(v.key, v.value) for v in s.values} for s in told)

        graph.wait(is_guarded, 10.0, "the guard")
        took = stopped_after(graph, graph.child.kill)
        sys.stdout.write(f"zeros after {took:.3f} s\n")
        assert took <= WITHIN_S, took
        graph.child.wait(5.0)
        gone = time.monotonic()
        leftovers.remove_segments_of(graph.child.pid)  # a dead process' port can block the next one
        time.sleep(1.3)  # the guard repeats its stops for a second, then it is silent
        late = [at - gone for at, _ in graph.commands if at > gone + 1.2]
        assert not late, late
        if number < KILLS - 1:
            graph.start()


def test_it_acts_on_an_estop_that_the_runner_cannot_hear(
    fault_graphs: GraphMaker, spawn: Nursery
) -> None:
    from std_msgs.msg import Bool

    # Tolerate so many late inferences that silence alone would not stop it.
    graph = fault_graphs(
        env=AS_ON_A_ROBOT, safety__late_inferences=200, safety__executor_timeout=0.0
    )
    start_guard(graph, spawn)
    press = graph.peer.publisher(Bool, f"{graph.runner}/estop")
    graph.well()
    graph.stood_still = True
    graph.child.send(signal.SIGSTOP)
    time.sleep(0.1)
    took = stopped_after(graph, lambda: press.publish(Bool(data=True)))
    sys.stdout.write(f"zeros after {took:.3f} s\n")
    assert took <= WITHIN_S, took
    graph.child.send(signal.SIGCONT)
    graph.await_beat(time.monotonic() - 1.0, "SAFE_STOP", "operator stop")
    press.publish(Bool(data=False))


def test_a_press_that_only_the_guard_hears(fault_graphs: GraphMaker, spawn: Nursery) -> None:
    """A publisher that ends after one message may have been discovered by the guard only."""
    from std_msgs.msg import Bool

    graph = fault_graphs(env=AS_ON_A_ROBOT)
    other = f"{graph.space}/heard_by_the_guard"
    start_guard(graph, spawn, "-r", f"{graph.runner}/estop:={other}")
    press = graph.peer.publisher(Bool, other)
    graph.shows(
        "press that only the guard hears",
        lambda: press.publish(Bool(data=True)),
        lambda: time.sleep(1.5),  # no recovery by itself; estop.quiet_time has passed
    )


def test_it_does_not_act_where_the_runner_reacts(fault_graphs: GraphMaker, spawn: Nursery) -> None:
    from std_msgs.msg import Bool

    graph = fault_graphs(env=AS_ON_A_ROBOT)
    guard = start_guard(graph, spawn)
    press = graph.peer.publisher(Bool, f"{graph.runner}/estop")
    graph.well()
    for _ in range(50):  # a button that is held
        press.publish(Bool(data=True))
        time.sleep(0.02)
    press.publish(Bool(data=False))
    assert graph.decision == "SAFE_STOP"
    assert "the guard stops the outputs" not in guard.stderr


def test_it_does_not_act_where_the_runner_does_not_command(
    fault_graphs: GraphMaker, spawn: Nursery
) -> None:
    graph = fault_graphs(env=AS_ON_A_ROBOT)
    guard = start_guard(graph, spawn)
    graph.well()
    assert graph.peer.change("deactivate")
    time.sleep(0.2)
    commands = len(graph.commands)
    graph.child.kill()
    graph.child.wait(5.0)
    time.sleep(0.6)
    assert len(graph.commands) == commands, "it commanded after deactivation"
    assert "stops the outputs" not in guard.stderr
    guard.send(signal.SIGTERM)
    assert guard.wait(2.0) == 0


def test_it_does_not_act_in_a_dry_run(fault_graphs: GraphMaker, spawn: Nursery) -> None:
    graph = fault_graphs(env=AS_ON_A_ROBOT, dry_run=True)
    guard = start_guard(graph, spawn)
    graph.wait(lambda: graph.decision == "RUN", 20.0, "RUN")
    time.sleep(0.3)
    graph.child.kill()
    graph.child.wait(5.0)
    time.sleep(0.6)
    assert not graph.commands
    assert "stops the outputs" not in guard.stderr


def test_an_asked_for_end_needs_no_guard(fault_graphs: GraphMaker, spawn: Nursery) -> None:
    graph = fault_graphs(env=AS_ON_A_ROBOT)
    guard = start_guard(graph, spawn)
    graph.well()
    graph.child.send(signal.SIGTERM)
    assert graph.child.wait(5.0) == 0
    time.sleep(0.6)
    assert "stops the outputs" not in guard.stderr


def test_a_guard_is_required(fault_graphs: GraphMaker, spawn: Nursery) -> None:
    row = FAULTS["guard missing"]
    graph = fault_graphs(env=AS_ON_A_ROBOT, require_arming=True, safety__require_guard=True)
    graph.starts("guard missing")
    answer = graph.peer.trigger("arm")
    assert not answer.success
    assert "guard" in answer.message
    start_guard(graph, spawn)

    def armed() -> bool:
        return bool(graph.peer.trigger("arm").success)

    graph.wait(armed, row.decided_s + 5.0, "arming with a guard")
    graph.await_beat(0.0, "RUN", "none")


def test_it_is_small_and_cheap(fault_graphs: GraphMaker, spawn: Nursery) -> None:
    graph = fault_graphs(env=AS_ON_A_ROBOT)
    guard = start_guard(graph, spawn)
    graph.well()

    def used_s() -> float:
        fields = Path(f"/proc/{guard.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before, begin = used_s(), time.monotonic()
    time.sleep(3.0)
    share = (used_s() - before) / (time.monotonic() - begin)
    resident = int(Path(f"/proc/{guard.pid}/statm").read_text().split()[1]) * 4096 / 1e6
    # Measured 1 to 2 % and 71 MB; a guard that spins takes a whole core.
    sys.stdout.write(f"guard: {100 * share:.2f} % of a core, {resident:.0f} MB\n")
    assert share < 0.1, share
    assert resident < 90.0, resident
