"""Faults of the policy itself (docs/faults.md)."""

from __future__ import annotations

import time
from importlib.util import find_spec

import pytest
from fault_rig import PERIOD_S, FaultGraph
from fault_rig import nursery as nursery
from fault_rig import robot as robot
from fault_rig import shared as shared

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
    """With late inferences allowed; on HOLD nothing is inferred, so it comes and goes."""

    def slow(share: float) -> None:
        robot.twist[2] = share

    assert robot.peer.set(safety__late_inferences=0, safety__late_ticks=10) == []
    try:
        robot.shows("deadlines missed in a row", lambda: slow(0.3), lambda: slow(0.0))
    finally:
        assert robot.peer.set(safety__late_inferences=10, safety__late_ticks=25) == []


def test_inference_late_once(robot: FaultGraph) -> None:
    def once() -> None:
        robot.twist[2] = 1.0
        time.sleep(PERIOD_S)
        robot.twist[2] = 0.0

    robot.well()
    before = int(robot.values("inference")["above period"])
    values = robot.shows("inference late once", once)
    assert 1 <= int(values["above period"]) - before <= 2
    assert float(values["inference max [us]"]) > 1e6 * 5 * PERIOD_S
