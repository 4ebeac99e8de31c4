"""The status of a lane: rates and counts since the message before, and when it warns."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from core_rig import MS
from fake_lane import LaneRig, lane_rig, ramp

from policy_runner.core.lane.interface import LaneEvent

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="ROS 2 is not installed")

S = 1_000_000_000


def infers(rig: LaneRig, count: int, ticks: int = 5) -> None:
    for _ in range(count):
        rig.lane.answer(ramp(0.0))
        rig.step(ticks)


def test_rate_latency_and_queue_of_a_lane_that_works(tmp_path: Path) -> None:
    from policy_runner.ros.diagnostics.lane import LaneReport

    rig, texts = lane_rig(tmp_path), LaneReport()
    level, message, values = texts.report(rig.policy, "CPU", 1 * S)
    assert (level, message) == (1, "the inference starts; CPU in a process, 0.0 inferences/s")
    assert values["latency p99 [ms]"] is None
    rig.step(5)
    infers(rig, 10)
    level, message, values = texts.report(rig.policy, "CPU", 3 * S)
    assert (level, message) == (0, "CPU in a process, 5.0 inferences/s, latency p99 50 ms")
    assert values["lane"] == "process"
    assert values["lane state"] == "infers"
    assert values["queue age [ms]"] == pytest.approx(90.0)
    assert values["queue left [ms]"] == pytest.approx(110.0)
    assert values["chunk index"] == pytest.approx(4.5)
    assert values["starved ticks"] == 0


def test_starved_ticks_and_a_failed_lane_warn(tmp_path: Path) -> None:
    from policy_runner.ros.diagnostics.lane import LaneReport

    rig, texts = lane_rig(tmp_path), LaneReport()
    rig.step()
    infers(rig, 1)
    texts.report(rig.policy, "CPU", 1 * S)
    rig.step(20)
    level, message, values = texts.report(rig.policy, "CPU", 2 * S)
    assert level == 1
    starved = values["starved ticks"]
    assert starved
    assert message.startswith(f"{starved} starved ticks since the last message; CPU in a process")
    level, message, _ = texts.report(rig.policy, "CPU", 3 * S)
    assert (level, message) == (0, "CPU in a process, 0.0 inferences/s, latency p99 10 ms")
    rig.lane.events.append(LaneEvent("failed", why="process ended with SIGKILL"))
    rig.step()
    level, message, values = texts.report(rig.policy, "CPU", 4 * S)
    assert level == 1
    assert message.startswith("the inference process ended with SIGKILL; ")
    assert values["lane failures"] == 1
    assert values["latency max [ms]"] == pytest.approx(10 * MS / 1e6)
