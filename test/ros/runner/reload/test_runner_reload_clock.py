"""Reloads with simulated time, and with a new policy of a different rate."""

from __future__ import annotations

import threading
import time
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from children import wait_until
from runner_rig import PERIOD_S, Graph, GraphMaker, values_by_name, write_policy
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
PERIOD_NS = round(PERIOD_S * 1e9)


class Simulated:
    """A simulator that steps until it is paused; each step publishes joint states and /clock."""

    def __init__(self, graph: Graph) -> None:
        from rosgraph_msgs.msg import Clock
        from sensor_msgs.msg import JointState

        self.graph = graph
        self.steps = threading.Event()
        self.now_ns = 10**9
        self._ended = threading.Event()
        self._clock = graph.peer.publisher(Clock, "/clock", 50)
        self.commands = graph.peer.hear(JointState, "joint_commands", 500)
        graph.activate()
        self.steps.set()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        from rosgraph_msgs.msg import Clock

        while not self._ended.wait(0.01):
            if self.steps.is_set():
                self.now_ns += PERIOD_NS
                seconds = divmod(self.now_ns, 10**9)
                self.graph.peer.joints(
                    {"left_joint": 1.0, "right_joint": 2.0}, stamp_ns=self.now_ns
                )
                self.graph.peer.command(0.0, 0.0, stamp_ns=self.now_ns)
                message = Clock()
                message.clock.sec, message.clock.nanosec = seconds
                self._clock.publish(message)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def left(self) -> float:
        return values_by_name(self.commands[-1][1])["left_joint"] if self.commands else 0.0

    def stamps(self) -> list[int]:
        stamps = [message.header.stamp for _, message in list(self.commands)]
        return [stamp.sec * 10**9 + stamp.nanosec for stamp in stamps]


@pytest.mark.parametrize("lockstep", [False, True])
def test_on_simulated_time(graphs: GraphMaker, tmp_path: Path, lockstep: bool) -> None:
    given: dict[str, Any] = {"use_sim_time": True, "lockstep": lockstep}
    simulator = Simulated(graphs(policy={}, **given))
    graph = simulator.graph
    try:
        wait_until(lambda: simulator.left == 2.0, 10.0, "the first policy")
        write_policy(tmp_path / "policy", counts=True)
        simulator.commands.clear()
        answer = graph.peer.trigger("reload")
        assert answer.success, answer.message
        wait_until(lambda: simulator.left > 10.0, 5.0, "the second policy")
        steps = {b - a for a, b in pairwise(simulator.stamps())}
        assert steps == {PERIOD_NS}  # every tick was answered once
        # A paused loop does not tick: the reload reports that, and leaves nothing behind.
        simulator.steps.clear()
        time.sleep(0.3)
        write_policy(tmp_path / "policy")
        answer = graph.peer.trigger("reload")
        assert not answer.success
        assert "simulator paused" in answer.message or "no message yet" in answer.message
        simulator.steps.set()
        count = simulator.left
        wait_until(lambda: simulator.left > count + 5, 5.0, "the second policy continues")
        assert graph.peer.trigger("reload").success
        wait_until(lambda: simulator.left == 2.0, 5.0, "the third policy")
        assert graph.node.loop.running
    finally:
        simulator.close()


def test_a_policy_of_another_rate(graphs: GraphMaker, tmp_path: Path) -> None:
    from sensor_msgs.msg import JointState

    graph = graphs(policy={})
    commands = graph.peer.hear(JointState, "joint_commands", 500)
    graph.peer.feed(rate_hz=200.0)
    graph.activate()
    wait_until(lambda: len(commands) > 10, 10.0)
    write_policy(tmp_path / "policy", control_dt=PERIOD_S / 4)
    missed = graph.node.loop.missed
    assert graph.peer.trigger("reload").success
    begin = len(commands)
    time.sleep(1.0)
    assert 4.0 / PERIOD_S * 0.7 < len(commands) - begin < 4.0 / PERIOD_S * 1.1
    assert graph.node.loop.missed - missed < 50
    heard = len(graph.heartbeat())
    time.sleep(1.0)
    assert 12 <= len(graph.heartbeat()) - heard <= 25  # 20 Hz as before
