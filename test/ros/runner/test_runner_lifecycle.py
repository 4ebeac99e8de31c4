"""The lifecycle by its services: repeatedly, in the wrong order, and by autostart."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from importlib.util import find_spec
from typing import Any

import pytest
from children import wait_until
from runner_rig import Graph, GraphMaker
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)


def entities(graph: Graph) -> dict[str, int]:
    """Return the number of entities of each kind that the node has."""
    node = graph.node
    return {
        "subscriptions": len(list(node.subscriptions)),
        "publishers": len(list(node.publishers)),
        "timers": len(list(node.timers)),
        "services": len(list(node.services)),
        "waitables": len(list(node.waitables)),
        "entities of the default group": len(node.default_callback_group.entities),
        "threads": sum(thread.name == "control" for thread in threading.enumerate()),
    }


def test_up_and_down_through_its_services(graphs: GraphMaker) -> None:
    graph = graphs(policy={})
    peer = graph.peer
    assert peer.state() == "unconfigured"
    assert peer.change("configure")
    assert peer.state() == "inactive"
    assert graph.node.loop is None
    assert peer.change("activate")
    assert peer.state() == "active"
    graph.await_decision("STARTING", "input never seen")
    assert peer.change("deactivate")
    assert peer.state() == "inactive"
    assert peer.change("cleanup")
    assert peer.state() == "unconfigured"
    graph.await_status("model", "not configured")


def test_a_transition_that_is_not_allowed_ends_nothing(graphs: GraphMaker) -> None:
    graph = graphs(policy={})
    peer = graph.peer
    peer.feed()
    for verb in ("activate", "deactivate", "cleanup"):
        assert peer.state() == "unconfigured"
        _not_allowed(graph, verb)
    graph.activate()
    graph.await_decision("RUN")
    for verb in ("configure", "activate", "cleanup"):
        _not_allowed(graph, verb)
        assert peer.state() == "active"
    graph.await_decision("RUN")
    assert graph.node.pulse.watch.failures == 0  # a wrong request is not a failed callback
    assert peer.set(safety__hold_recover=0.3) == []
    assert peer.change("deactivate")


def _not_allowed(graph: Graph, verb: str) -> None:
    """Call without waiting: in Jazzy the request raises in the server, which never answers."""
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    failures = graph.runner.executor.exceptions
    client = graph.peer.node.create_client(ChangeState, f"{graph.peer.runner}/change_state")
    wait_until(client.service_is_ready)
    request = ChangeState.Request()
    request.transition.id = getattr(Transition, f"TRANSITION_{verb.upper()}")
    future = client.call_async(request)
    wait_until(lambda: future.done() or graph.runner.executor.exceptions > failures)
    if future.done():
        assert not future.result().success
    graph.peer.node.destroy_client(client)


def test_twenty_times_configured_nothing_piles_up(graphs: GraphMaker) -> None:
    graph = graphs(policy={})
    before = entities(graph)
    for _ in range(20):
        assert graph.peer.change("configure")
        assert graph.peer.change("cleanup")
    gc.collect()
    assert entities(graph) == before
    graph.activate()
    graph.peer.feed()
    graph.await_decision("RUN")


def test_what_was_configured_is_freed(graphs: GraphMaker) -> None:
    graph = graphs(policy={})
    kept: list[weakref.ref[Any]] = []
    for _ in range(3):
        graph.activate()
        kept += [weakref.ref(graph.node.configured.policy.model), weakref.ref(graph.node.loop)]
        assert graph.peer.change("deactivate")
        assert graph.peer.change("cleanup")
    gc.collect()
    assert [one() for one in kept] == [None] * len(kept)


def test_ten_times_activated_it_starts_anew_each_time(graphs: GraphMaker) -> None:
    from sensor_msgs.msg import JointState

    graph = graphs(policy={"counts": True})
    commands = graph.peer.hear(JointState, "joint_commands", 500)
    graph.peer.feed()
    assert graph.peer.change("configure")
    before = entities(graph)
    for _ in range(10):
        commands.clear()
        assert graph.peer.change("activate")
        wait_until(lambda: any(m.velocity[0] == 4.0 for _, m in list(commands)))
        assert graph.peer.change("deactivate")
        counts = [m.velocity[0] for _, m in list(commands)]
        assert counts[:3] == [0.0, 1.0, 2.0]
        assert wait_until(lambda: commands[-1][1].velocity[0] == 0.0)
    gc.collect()
    assert entities(graph) == before


def test_autostart(graphs: GraphMaker) -> None:
    graph = graphs(policy={}, autostart=True)
    wait_until(lambda: graph.peer.state() == "active", 10.0)
    graph.peer.feed()
    graph.await_decision("RUN")


def test_services_and_parameters_while_it_runs_take_nothing_from_the_loop(
    graphs: GraphMaker,
) -> None:
    graph = graphs(policy={})
    graph.peer.feed()
    graph.activate()
    graph.await_decision("RUN")
    loop = graph.node.loop
    begin, ticks = time.monotonic(), loop.ticks
    while time.monotonic() < begin + 1.5:
        assert graph.peer.set(safety__hold_recover=0.25) == []
        assert graph.peer.state() == "active"
    rate = (loop.ticks - ticks) / (time.monotonic() - begin)
    assert rate == pytest.approx(50.0, rel=0.1)


def test_a_control_thread_that_fails_is_said_and_can_be_started_again(
    graphs: GraphMaker, capfd: pytest.CaptureFixture[str]
) -> None:
    graph = graphs(policy={})
    graph.peer.feed()
    graph.activate()
    graph.await_decision("RUN")

    def fail() -> None:
        raise RuntimeError("odd")

    graph.node.loop.call(fail)
    graph.await_status("loop", "the control thread ended: RuntimeError: odd")
    assert graph.statuses()["loop"].level == b"\2"
    assert "the control thread ended: RuntimeError: odd" in capfd.readouterr().err
    assert graph.peer.change("deactivate")
    assert graph.peer.change("activate")
    graph.await_decision("RUN")


def test_a_thread_that_does_not_end_keeps_what_it_uses(graphs: GraphMaker) -> None:
    """The wait for the thread is bounded, and nothing is freed while the thread still polls."""
    graph = graphs(policy={})
    graph.activate()
    graph.node.loop.call(lambda: time.sleep(3.0))
    time.sleep(0.1)
    begin = time.monotonic()
    assert not graph.peer.change("deactivate")
    assert time.monotonic() - begin < 2.5
    assert graph.node.configured.inputs
    assert graph.node.loop.running
    wait_until(lambda: not graph.node.loop.running, 5.0)
    state = graph.peer.state()
    assert state in ("active", "inactive")


def test_an_end_while_it_activates_starts_no_loop(
    graphs: GraphMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop was once stopped too early: "'NoneType' object has no attribute 'start'"."""
    from types import SimpleNamespace

    from policy_runner.ros.runner import node

    graph = graphs(policy={})
    assert graph.peer.change("configure")
    ended: list[bool] = []
    freeze = SimpleNamespace(
        collect=lambda: None,
        freeze=lambda: ended.append(graph.node.end(1.0)),  # like the main thread after a signal
        unfreeze=lambda: None,
    )
    monkeypatch.setattr(node, "gc", freeze)
    assert not graph.peer.change("activate")
    assert ended == [True]
    assert graph.node._problems == [
        "activate: expected a process that continues, got one that ends"
    ]
    assert graph.node.loop is None
    assert graph.node.exit_code == 0
