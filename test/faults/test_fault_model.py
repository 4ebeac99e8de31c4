"""Faults of the policy itself (docs/reference/faults.md)."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from fault_policy import write_fault_policy
from fault_rig import PERIOD_S, FaultGraph
from fault_rig import nursery as nursery
from fault_rig import robot as robot
from fault_rig import shared as shared

RELOADS, REFUSALS = 100, 10

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)


def test_policy_returns_nan(robot: FaultGraph) -> None:
    def root(value: float) -> None:
        robot.twist[3] = value

    robot.shows("policy returns NaN", lambda: root(2.0), lambda: root(0.0))


def test_inference_always_late(robot: FaultGraph) -> None:
    def slow(share: float) -> None:
        robot.twist[2] = share

    robot.shows("inference always late", lambda: slow(1.0), lambda: slow(0.0))


def test_deadlines_missed_in_a_row(robot: FaultGraph) -> None:
    """Late inferences are allowed. In HOLD nothing is inferred, so the fault comes and goes."""

    def slow(share: float) -> None:
        robot.twist[2] = share

    assert robot.peer.set(safety__late_inferences=0, safety__late_ticks=10) == []
    try:
        robot.shows("deadlines missed in a row", lambda: slow(0.3), lambda: slow(0.0))
    finally:
        assert robot.peer.set(safety__late_inferences=10, safety__late_ticks=25) == []


def test_inference_late_once(robot: FaultGraph) -> None:
    def once() -> None:
        robot.twist[2] = 0.25  # less than 0.2 s, after which its command would be too old
        time.sleep(PERIOD_S)
        robot.twist[2] = 0.0

    robot.well()
    before = int(robot.values("inference")["above period"])
    values = robot.shows("inference late once", once, watch_s=2.0)
    assert 1 <= int(values["above period"]) - before <= 2
    assert float(values["inference max [us]"]) > 1e6 * PERIOD_S


def reload(robot: FaultGraph) -> tuple[bool, str]:
    answer = robot.peer.trigger("reload")
    return answer.success, answer.message


@pytest.mark.parametrize(
    ("fault", "says"),
    [("reload of a corrupt model", "toy.onnx"), ("reload of another interface", "obs")],
)
def test_reload_that_is_refused(robot: FaultGraph, fault: str, says: str) -> None:
    model = robot.policy / "toy.onnx"
    good = model.read_bytes()

    def cause() -> None:
        for _ in range(REFUSALS):
            done, why = reload(robot)
            assert not done
            assert says in why, why

    if "corrupt" in fault:
        model.write_bytes(good[: len(good) // 2])
    else:
        write_fault_policy(robot.policy, size=8)
    try:
        robot.shows(fault, cause)
    finally:
        model.write_bytes(good)
    assert reload(robot)[0]


def test_reload_a_hundred_times(robot: FaultGraph) -> None:
    """Every reload runs: each has another gain. No memory or thread accumulates."""

    def times(count: int) -> None:
        for k in range(count):
            robot.gain = 3.0 if k % 2 == 0 else 2.0
            write_fault_policy(robot.policy, gain=robot.gain)
            done, why = reload(robot)
            assert done, why

    def held() -> dict[str, int]:
        of = Path(f"/proc/{robot.child.pid}")
        rows = dict(line.split(":", 1) for line in (of / "status").read_text().splitlines())
        resident = int(rows["VmRSS"].split()[0])
        return {"files": len(list((of / "fd").iterdir())), "threads": int(rows["Threads"])} | {
            "MB": resident // 1024
        }

    robot.well()
    times(RELOADS // 5)
    before = held()
    robot.shows("reload of a good policy", lambda: times(RELOADS - RELOADS // 5))
    after = held()
    assert after["files"] <= before["files"] + 2, (before, after)
    assert after["threads"] <= before["threads"] + 2, (before, after)
    assert after["MB"] <= before["MB"] + 20, (before, after)
