"""Faults of clocks and stamps (docs/reference/faults.md)."""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from fault_rig import FaultGraph
from fault_rig import fault_graphs as fault_graphs
from fault_rig import nursery as nursery
from fault_rig import robot as robot
from fault_rig import shared as shared
from fault_table import FAULTS

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
GraphMaker = Callable[..., FaultGraph]
DAY_NS = 86_400 * 10**9


@pytest.mark.parametrize(
    ("fault", "shift_ns"),
    [
        ("stamp 0", None),
        ("stamp 66 days old", -66 * DAY_NS),
        ("stamp in the future", 3600 * 10**9),
    ],
)
def test_a_stamp_that_is_wrong(robot: FaultGraph, fault: str, shift_ns: int | None) -> None:
    def stamp(by: int | None) -> Callable[[], None]:
        return lambda: setattr(robot, "shift_ns", by)

    values = robot.shows(fault, stamp(shift_ns), stamp(0))
    assert int(values["joints wrong stamps"]) > 0
    begin = time.monotonic()
    robot.wait(
        lambda: any(at > begin and p == "inputs" and s.level == b"\0" for at, p, s in robot.told),
        5.0,
        "the warning's end",
    )


def test_wrong_stamp_of_a_strict_input(robot: FaultGraph) -> None:
    robot.shifted = {"imu"}

    def stamp(by: int | None) -> Callable[[], None]:
        return lambda: setattr(robot, "shift_ns", by)

    robot.shows("wrong stamp of a strict input", stamp(None), stamp(0))


def test_wrong_stamps_of_one_of_two_publishers(robot: FaultGraph) -> None:
    from sensor_msgs.msg import Imu

    other = robot.peer.node.create_publisher(Imu, "imu", 10)

    def send_wrong_first(message: Any) -> Any:
        if isinstance(message, Imu):
            other.publish(Imu(orientation=message.orientation))
        return message

    def cause() -> None:
        robot.encode = send_wrong_first

    fault = "wrong stamps of one of two publishers"
    try:
        robot.shows(fault, cause)
        # A tick whose newest message is right must not excuse the others.
        since = time.monotonic()
        time.sleep(1.0)
        assert {b["decision"] for at, b in robot.beats if at > since} == {"HOLD"}, robot.say()
        robot.encode = None
        robot.recovers(FAULTS[fault])
    finally:
        robot.peer.node.destroy_publisher(other)


def test_messages_from_before_simulation_time_jumped_back(fault_graphs: GraphMaker) -> None:
    graph = fault_graphs(simulated=True)
    graph.sim_ns = 1000 * 10**9
    graph.clock_runs = True
    graph.well()
    row = FAULTS["messages from before simulation time jumped back"]
    graph.clock_runs = False
    time.sleep(0.3)  # the queues fill, because their messages are not taken
    graph.silent.add("joints")
    time.sleep(0.1)
    begin = time.monotonic()
    graph.sim_ns -= 100 * 10**9
    graph.clock_runs = True
    graph.await_beat(begin, row.decision, row.reason, row.decided_s)
    decided = time.monotonic()
    graph.publishes(row, decided)
    graph.await_status(decided, row)
    assert not [b for at, b in graph.beats if at > begin + 0.1 and b["decision"] == "RUN"]
    begin = time.monotonic()
    graph.silent.clear()
    graph.await_beat(begin, "RUN", "none", row.recovers_s)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_wall_clock_jumped(fault_graphs: GraphMaker, tmp_path: Path) -> None:
    """CLOCK_REALTIME of the runner's process only: the test must not set the machine's clock."""
    library, clock = tmp_path / "wall_clock.so", tmp_path / "moved"
    source = str(Path(__file__).resolve().parents[1] / "rigs" / "programs" / "wall_clock.c")
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), source, "-ldl"], check=True
    )
    clock.write_bytes(struct.pack("d", 0.0))

    def jump(seconds: float) -> Callable[[], None]:
        def write() -> None:
            with clock.open("r+b") as file:
                file.write(struct.pack("d", seconds))

        return write

    graph = fault_graphs(
        env={"LD_PRELOAD": str(library), "WALL_CLOCK_FILE": str(clock)},
        inputs__imu__strict_stamp=False,
    )
    for seconds in (3600.0, -3600.0):
        graph.shows("wall clock jumped", jump(seconds))
        begin = time.monotonic()
        graph.wait(lambda b=begin: graph.stamps and graph.stamps[-1][0] > b, 5.0, "a stamp")
        assert graph.stamps[-1][1] - time.time() == pytest.approx(seconds, abs=5.0)
    # The test does not cover how a process with a preloaded library finalizes its interpreter.
    graph.child.kill()


def test_simulation_time_paused_and_jumped_back(fault_graphs: GraphMaker) -> None:
    graph = fault_graphs(simulated=True)
    graph.sim_ns = 1000 * 10**9
    graph.clock_runs = True
    graph.well()
    row = FAULTS["simulation time paused"]
    graph.clock_runs = False
    time.sleep(0.2)
    begin, commands, beats = time.monotonic(), len(graph.commands), len(graph.beats)
    graph.await_status(begin, row)
    time.sleep(1.0)  # longer than any max_age
    assert len(graph.commands) == commands
    # Heartbeats continue, or the guard would see the pause as a fault; they report no tick.
    still = [beat for _, beat in graph.beats[beats:]]
    assert len(still) > 5
    assert len({beat["sequence"] for beat in still}) == 1
    assert still[-1]["commanding"] == "false"
    begin = time.monotonic()
    graph.clock_runs = True
    graph.await_beat(begin, "RUN", "none", row.recovers_s)
    graph.await_commands(graph.wanted, begin)
    # Measurements from before the jump are invalid: their age would be negative.
    row = FAULTS["simulation time jumped back"]
    begin = time.monotonic()
    graph.silent.add("joints")
    time.sleep(0.1)  # no message is under way any more, and none is too old
    graph.sim_ns -= 100 * 10**9
    graph.await_beat(begin, row.decision, row.reason, row.decided_s)
    decided = time.monotonic()
    graph.publishes(row, decided)
    graph.await_status(decided, row)
    begin = time.monotonic()
    graph.silent.clear()
    graph.await_beat(begin, "RUN", "none", row.recovers_s)
    graph.await_commands(graph.wanted, begin)
    decisions = {b["decision"] for at, b in graph.beats if at > decided}
    assert decisions == {"STARTING", "RUN"}, graph.say()
