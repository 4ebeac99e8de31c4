"""With simulated time the ticks follow /clock; the tests publish it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import pytest
from children import wait_until
from runner_rig import PERIOD_S, Graph, GraphMaker, values_by_name
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
PERIOD_NS = round(PERIOD_S * 1e9)
START_NS = 1_000_000_000


class Simulator:
    """Publishes joint states and /clock step by step; records the runner's commands by stamp."""

    def __init__(self, graph: Graph, now_ns: int = START_NS) -> None:
        from rosgraph_msgs.msg import Clock
        from sensor_msgs.msg import JointState

        self.graph = graph
        self.now_ns = now_ns
        self._clock = graph.peer.publisher(Clock, "/clock", 50)
        self.commands = graph.peer.hear(JointState, "joint_commands", 500)

    def show(self) -> None:
        """Publish joint states and /clock with the same time."""
        from rosgraph_msgs.msg import Clock

        left, right = self.graph.peer.speeds
        self.graph.peer.joints({"left_joint": left, "right_joint": right}, stamp_ns=self.now_ns)
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(self.now_ns, 10**9)
        self._clock.publish(message)

    def steps(self, count: int, step_ns: int = PERIOD_NS, wall_s: float = 0.008) -> None:
        for _ in range(count):
            self.now_ns += step_ns
            self.show()
            time.sleep(wall_s)

    def until_run(self) -> None:
        """Step until the runner commands something other than zero."""

        def moving() -> bool:
            self.steps(1)
            return bool(self.commands) and any(self.commands[-1][1].velocity)

        wait_until(moving)

    def stamps(self) -> list[int]:
        stamps = [message.header.stamp for _, message in list(self.commands)]
        return [stamp.sec * 10**9 + stamp.nanosec for stamp in stamps]


def simulated(graphs: GraphMaker, **parameters: Any) -> Simulator:
    parameters.setdefault("policy", {})
    graph = graphs(use_sim_time=True, **parameters)
    graph.activate()
    graph.heartbeat()
    graph.statuses()
    return Simulator(graph)


def decisions(graph: Graph) -> list[str]:
    return [message.status[0].message for _, message in list(graph.heartbeat())]


def test_ticks_follow_the_clock_not_the_wall(graphs: GraphMaker) -> None:
    simulator = simulated(graphs)
    simulator.until_run()
    simulator.steps(5)
    simulator.commands.clear()
    begin = simulator.now_ns
    simulator.steps(50, wall_s=0.005)  # four times as fast as real time
    wait_until(lambda: simulator.stamps() and simulator.stamps()[-1] == simulator.now_ns)
    assert simulator.stamps() == [begin + PERIOD_NS * k for k in range(1, 51)]
    assert values_by_name(simulator.commands[-1][1]) == {"left_joint": 2.0, "right_joint": -4.0}


def test_a_clock_finer_than_the_period_ticks_at_the_period(graphs: GraphMaker) -> None:
    simulator = simulated(graphs)
    simulator.until_run()
    simulator.steps(5)
    simulator.commands.clear()
    simulator.steps(100, step_ns=PERIOD_NS // 5, wall_s=0.003)
    time.sleep(0.2)
    stamps = simulator.stamps()
    assert 19 <= len(stamps) <= 21
    assert {b - a for a, b in pairwise(stamps[1:])} == {PERIOD_NS}


def test_a_clock_coarser_than_the_period_is_no_jump(graphs: GraphMaker) -> None:
    simulator = simulated(graphs, inputs__joints__max_age=0.2)
    simulator.steps(5)
    simulator.commands.clear()
    simulator.steps(40, step_ns=PERIOD_NS * 5 // 2, wall_s=0.01)
    wait_until(lambda: len(simulator.commands) >= 35)
    assert any(simulator.commands[-1][1].velocity)
    values = simulator.graph.await_status("loop", "")
    assert int(values["missed deadlines"]) > 20


def test_a_paused_clock_means_no_ticks_and_no_faults(graphs: GraphMaker) -> None:
    simulator = simulated(graphs)
    simulator.until_run()
    simulator.steps(10)
    time.sleep(0.2)
    count = len(simulator.commands)
    time.sleep(1.2)  # far longer than any max_age
    assert len(simulator.commands) == count
    simulator.graph.await_status("loop", "no tick since the last message")
    assert simulator.graph.statuses()["safety"].message == "RUN"
    simulator.steps(20)
    wait_until(lambda: len(simulator.commands) >= count + 20)
    assert simulator.graph.await_status("safety", "RUN")["holds"] == "0"
    assert "HOLD" not in decisions(simulator.graph)


def test_paused_it_can_still_be_deactivated(graphs: GraphMaker) -> None:
    simulator = simulated(graphs)
    simulator.until_run()
    time.sleep(0.2)
    begin = time.monotonic()
    assert simulator.graph.peer.change("deactivate")
    assert time.monotonic() - begin < 2.0
    wait_until(lambda: not any(simulator.commands[-1][1].velocity))
    assert simulator.stamps()[-1] == simulator.stamps()[-2]  # a simulated stamp, as before


@pytest.mark.parametrize("jump_s", [-0.9, -0.05, 3.0, 5000.0])
def test_a_jump_starts_anew_and_recovers(graphs: GraphMaker, jump_s: float) -> None:
    simulator = simulated(graphs, policy={"counts": True})
    simulator.until_run()
    simulator.steps(20)
    wait_until(lambda: simulator.commands[-1][1].velocity[0] > 10.0)
    simulator.commands.clear()
    simulator.now_ns += round(jump_s * 1e9)
    simulator.steps(10)
    wait_until(lambda: simulator.commands and simulator.stamps()[-1] == simulator.now_ns)
    assert simulator.commands[-1][1].velocity[0] < 15.0  # the count was reset
    simulator.steps(10)
    simulator.graph.await_status("safety", "RUN")
    assert "SAFE_STOP" not in decisions(simulator.graph)


def test_a_jump_does_not_arm_a_latched_stop(graphs: GraphMaker) -> None:
    simulator = simulated(graphs, policy={"root": True})
    simulator.graph.peer.speeds = (2.0, 8.0)
    simulator.until_run()
    simulator.graph.peer.speeds = (-2.0, 8.0)
    simulator.steps(5)
    simulator.graph.await_status("safety", "SAFE_STOP")
    simulator.graph.peer.speeds = (2.0, 8.0)
    simulator.now_ns += 10**10
    simulator.steps(30)
    assert simulator.graph.await_status("safety", "SAFE_STOP")["decision"] == "SAFE_STOP"
    assert not any(simulator.commands[-1][1].velocity)
    with ThreadPoolExecutor(1) as pool:  # only a tick answers
        answer = pool.submit(simulator.graph.peer.trigger, "arm")
        while not answer.done():
            simulator.steps(1)
    assert answer.result().success
    simulator.until_run()


def test_an_input_that_stops_on_simulated_time_is_stale_by_that_time(graphs: GraphMaker) -> None:
    from rosgraph_msgs.msg import Clock

    simulator = simulated(graphs)
    simulator.until_run()
    for _ in range(20):
        simulator.now_ns += PERIOD_NS
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(simulator.now_ns, 10**9)
        simulator.graph.peer.publisher(Clock, "/clock", 50).publish(message)
        time.sleep(0.01)
    simulator.graph.await_status("safety", "HOLD: joints: ")
    assert not any(simulator.commands[-1][1].velocity)
    simulator.until_run()


def test_lockstep_says_which_input_keeps_it_from_a_step(graphs: GraphMaker) -> None:
    simulator = simulated(graphs, lockstep=True)
    peer = simulator.graph.peer
    simulator.graph.await_status("inputs", "lockstep waits for /clock")
    simulator.graph.await_status("safety", "input never seen")
    assert simulator.graph.statuses()["safety"].message == "STARTING: input never seen"
    for command_ns, says in (
        (0, "lockstep waits for command: its stamp is 0.000 s, /clock is 1.000 s"),
        (START_NS, "all inputs arrive"),
    ):

        def told(stamp_ns: int = command_ns, wanted: str = says) -> bool:
            peer.command(0.0, 0.0, stamp_ns=stamp_ns)
            simulator.show()
            status = simulator.graph.statuses().get("inputs")
            return status is not None and status.message == wanted

        wait_until(told, 15.0, says)
    assert "input never seen" not in simulator.graph.statuses()["safety"].message
