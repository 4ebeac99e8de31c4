"""The operator's requests while the control loop is busy, and the heartbeat about them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import pytest
from children import wait_until
from runner_rig import Graph, GraphMaker
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
MOVING = [2.0, -4.0]
ARRIVED_S = 0.3  # after this time, messages published in this process have arrived


def running(graph: Graph) -> list[Any]:
    """Feed the graph until the policy commands; return the list that records the commands."""
    from sensor_msgs.msg import JointState

    commands = graph.peer.hear(JointState, "joint_commands", 500)
    graph.peer.feed()
    graph.activate()
    await_command(commands, MOVING)
    return commands


def await_command(commands: list[Any], values: list[float]) -> None:
    wait_until(lambda: commands and list(commands[-1][1].velocity) == values, what=f"{values}")


@contextmanager
def busy(graph: Graph) -> Iterator[None]:
    """Let the control loop hang in a tick, as in an inference that takes long."""
    gate, begun = threading.Event(), threading.Event()
    pipeline = graph.node.configured.pipeline
    step = pipeline.step

    def hang(*given: Any, **keys: Any) -> Any:
        begun.set()
        gate.wait(10.0)
        return step(*given, **keys)

    pipeline.step = hang
    try:
        assert begun.wait(5.0)
        time.sleep(ARRIVED_S)
        yield
    finally:
        pipeline.step = step
        gate.set()


def after(commands: list[Any], begin: int, count: int = 5) -> list[list[float]]:
    """Return the commands after the first `begin` ones and the one of the hanging tick."""
    wait_until(lambda: len(commands) > begin + count, what="commands")
    return [list(message.velocity) for _, message in commands[begin + 1 :]]


def test_a_press_behind_other_messages_stops_in_the_tick_that_finds_it(graphs: GraphMaker) -> None:
    from std_msgs.msg import Bool

    # A command that is too late causes a HOLD of one tick.
    graph = graphs(policy={}, require_arming=False, safety__hold_recover=0.0)
    commands = running(graph)
    publisher = graph.peer.publisher(Bool, f"{graph.peer.runner}/estop")
    wait_until(lambda: publisher.get_subscription_count() == 1)
    with busy(graph):
        for _ in range(8):
            publisher.publish(Bool(data=False))
        time.sleep(ARRIVED_S)
        begin = len(commands)
    assert after(commands, begin)[1] == MOVING  # neither `false` messages nor the hang stop it
    with busy(graph):
        for pressed in [False] * 8 + [True]:
            publisher.publish(Bool(data=pressed))
        time.sleep(ARRIVED_S)
        begin = len(commands)
    graph.await_decision("SAFE_STOP", "operator stop")
    assert MOVING not in after(commands, begin)


def test_disarming_that_is_no_longer_waited_for_disarms_all_the_same(graphs: GraphMaker) -> None:
    graph = graphs(policy={}, require_arming=False)
    commands = running(graph)
    with busy(graph):
        answer = graph.peer.trigger("disarm")
        assert not answer.success
        assert answer.message.startswith("no answer within 0.5 s")
        begin = len(commands)
    graph.await_decision("SAFE_STOP", "disarmed")
    assert MOVING not in after(commands, begin)


def test_arming_that_is_no_longer_waited_for_arms_nothing(graphs: GraphMaker) -> None:
    from sensor_msgs.msg import JointState

    graph = graphs(policy={}, require_arming=True)
    commands = graph.peer.hear(JointState, "joint_commands", 500)
    graph.peer.feed()
    graph.activate()
    wait_until(lambda: graph.await_decision("STARTING", "not armed") == "call ~/arm")
    with busy(graph):
        assert not graph.peer.trigger("arm").success
    time.sleep(0.5)
    graph.await_decision("STARTING", "not armed")
    assert not commands


def test_a_reset_that_is_no_longer_waited_for_resets_nothing(graphs: GraphMaker) -> None:
    from sensor_msgs.msg import JointState

    # After a gap as long as reset_after, the policy would be reset without a request.
    graph = graphs(
        policy={"counts": True},
        require_arming=False,
        safety__reset_after=60.0,
        safety__hold_recover=0.0,
    )
    commands = graph.peer.hear(JointState, "joint_commands", 500)
    graph.peer.feed()
    graph.activate()
    wait_until(lambda: commands and commands[-1][1].velocity[0] > 10.0, what="a count")
    with busy(graph):
        count = commands[-1][1].velocity[0]
        assert not graph.peer.trigger("reset").success
        begin = len(commands)
    assert after(commands, begin)[1][0] > count
    graph.await_decision("RUN")


@pytest.mark.parametrize("recover", ["armed", "auto"])
def test_the_heartbeat_says_armed_only_of_what_needs_no_arming(
    graphs: GraphMaker, recover: str
) -> None:
    graph = graphs(
        policy={"root": True},
        require_arming=True,
        safety__recover=recover,
        safety__hold_recover=0.5,
    )
    heard = graph.heartbeat()

    def said(decision: str, reason: str) -> set[str]:
        """Return the values of `armed` in all heartbeats of this decision."""
        graph.await_decision(decision, reason)
        time.sleep(0.2)
        beats = [{p.key: p.value for p in m.status[0].values} for _, m in list(heard)]
        return {b["armed"] for b in beats if (b["decision"], b["reason"]) == (decision, reason)}

    graph.peer.speeds = (2.0, 8.0)
    graph.peer.feed()
    graph.activate()
    assert said("STARTING", "not armed") == {"false"}
    wait_until(lambda: graph.peer.trigger("arm").success, what="arming")
    assert said("RUN", "none") == {"true"}
    graph.peer.feeds = False
    assert said("HOLD", "input too old") == {"true"}
    graph.peer.feeds = True
    graph.await_decision("RUN")
    graph.peer.speeds = (-2.0, 8.0)  # the square root of a negative number
    fault = "action not finite"
    assert said("SAFE_STOP", fault) == {"true" if recover == "auto" else "false"}
    assert graph.peer.trigger("disarm").success
    assert said("SAFE_STOP", "disarmed") == {"false"}
