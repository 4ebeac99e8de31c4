"""A process that was suspended continues in phase: it skips ticks and never catches them up."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from children import Nursery, wait_until
from runner_rig import PERIOD_S, Peer, write_parameters, write_policy
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
PERIOD_NS = round(PERIOD_S * 1e9)


class Time:
    """A clock that moves by the sleeps and by the test."""

    def __init__(self) -> None:
        self.now_ns = 5_000_000_000

    def monotonic_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


@pytest.mark.parametrize("gap_periods", [0.4, 1.0, 1.5, 40.25])
def test_deadlines_of_a_gap_are_counted_and_skipped(
    monkeypatch: pytest.MonkeyPatch, gap_periods: float
) -> None:
    from policy_runner.ros.runner import ticker

    clock = Time()
    monkeypatch.setattr(ticker, "time", clock)
    wall = ticker.WallTicker(PERIOD_NS)
    begin = clock.now_ns
    wall.start()
    assert [wall.wait() for _ in range(3)] == [begin + k * PERIOD_NS for k in (1, 2, 3)]
    clock.now_ns += round(gap_periods * PERIOD_NS)
    after = [wall.wait(), wall.wait(), wall.wait()]
    late = int(gap_periods)  # the newest deadline of the gap is late but not skipped
    assert wall.missed == max(0, late - 1)
    first = begin + (4 + wall.missed) * PERIOD_NS
    assert after[0] == max(first, begin + round((3 + gap_periods) * PERIOD_NS))
    assert after[1:] == [first + PERIOD_NS, first + 2 * PERIOD_NS]


@pytest.fixture
def peer() -> Iterator[Any]:
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context)
    made = Peer(context)
    yield made
    made.close()
    context.try_shutdown()


def test_a_suspended_process_goes_on_without_a_burst(
    peer: Any, spawn: Nursery, tmp_path: Path
) -> None:
    from sensor_msgs.msg import JointState

    write_policy(tmp_path / "policy")
    parameters = write_parameters(
        tmp_path / "parameters.yaml", policy=str(tmp_path / "policy"), autostart=True
    )
    heard = peer.hear(JointState, "joint_commands", 500)
    peer.feed()
    module = "policy_runner.ros.runner.main"
    child = spawn(["python", "-m", module, "--ros-args", "--params-file", str(parameters)])
    wait_until(lambda: any(any(message.velocity) for _, message in list(heard)), 20.0)
    time.sleep(0.3)
    child.send(signal.SIGSTOP)
    time.sleep(0.6)
    before = len(heard)
    child.send(signal.SIGCONT)
    continued = time.monotonic()
    wait_until(lambda: len(heard) >= before + 15, 5.0, "commands after the suspension")
    stamps = [m.header.stamp.sec + 1e-9 * m.header.stamp.nanosec for _, m in list(heard)]
    gap = stamps[before] - stamps[before - 1]
    assert gap > 0.5
    assert heard[before][0] - continued < 0.2  # generous: a busy machine
    # A burst would be 30 commands at once; a late tick may be close to the next.
    took = stamps[before + 14] - stamps[before]
    assert took > 12 * PERIOD_S, took
    # Zero while the inputs are older than max_age; then the policy commands again on its own.
    wait_until(lambda: any(heard[-1][1].velocity), 5.0, "the policy's commands again")


def test_the_time_source_stays_while_the_loop_runs(graphs: Any) -> None:
    graph = graphs(policy={})
    graph.activate()
    [reason] = graph.peer.set(use_sim_time=True)
    assert "use_sim_time" in reason
    assert "deactivate" in reason
    graph.peer.feed()
    graph.await_decision("RUN")
    assert graph.peer.change("deactivate")
    [reason] = graph.peer.set(use_sim_time=True)  # configure has already created the ticker
    assert "use_sim_time" in reason
    assert graph.peer.change("cleanup")
    assert graph.peer.set(use_sim_time=True) == []
