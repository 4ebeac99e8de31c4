"""Requests to an inactive node: stops take effect, parameters take effect or are refused."""

from __future__ import annotations

import math
import time
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, cast

import pytest
from children import wait_until
from runner_rig import Graph, GraphMaker, write_policy
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
MOVING = [2.0, -4.0]


def estop(graph: Graph, pressed: bool) -> None:
    from std_msgs.msg import Bool

    publisher = graph.peer.publisher(Bool, f"{graph.peer.runner}/estop")
    wait_until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(Bool(data=pressed))


def armed(graph: Graph) -> str:
    """Return the value `armed` of the newest heartbeat."""
    status = graph.heartbeat()[-1][1].status[0]
    return {pair.key: pair.value for pair in status.values}["armed"]


@pytest.mark.parametrize("way", ["reload", "cleanup"])
def test_an_emergency_stop_outlives_whatever_policy_there_was(graphs: GraphMaker, way: str) -> None:
    from sensor_msgs.msg import JointState

    graph = graphs(policy={})
    commands = graph.peer.hear(JointState, "joint_commands", 500)
    graph.peer.feed()
    graph.activate()
    wait_until(lambda: commands and list(commands[-1][1].velocity) == MOVING)
    graph.await_decision("RUN")
    assert armed(graph) == "true"
    estop(graph, True)
    graph.await_decision("SAFE_STOP", "operator stop")
    assert armed(graph) == "false"
    assert graph.peer.change("deactivate")
    begin = len(commands)
    if way == "reload":
        assert graph.peer.trigger("reload").success
    else:
        assert graph.peer.change("cleanup")
        assert graph.peer.change("configure")
    assert graph.peer.change("activate")
    graph.await_decision("SAFE_STOP", "operator stop")
    estop(graph, False)
    time.sleep(0.2)
    assert graph.peer.change("deactivate")
    assert graph.peer.change("activate")
    # The emergency stop is released, but the operator has not armed.
    wait_until(lambda: graph.await_decision("STARTING", "not armed") == "call ~/arm")
    assert MOVING not in [list(message.velocity) for _, message in commands[begin:]]
    assert graph.peer.trigger("arm").success
    wait_until(lambda: list(commands[-1][1].velocity) == MOVING)


def test_an_emergency_stop_is_heard_before_the_node_is_configured(graphs: GraphMaker) -> None:
    graph = graphs(policy={})
    graph.peer.feed()
    estop(graph, True)
    estop(graph, False)
    graph.activate()
    graph.await_decision("SAFE_STOP", "operator stop")
    wait_until(lambda: graph.node.configured.pipeline.slots["joints"].count)
    assert graph.peer.trigger("arm").success
    graph.await_decision("RUN")


def test_live_parameters_set_while_it_is_inactive_hold_at_the_next_activation(
    graphs: GraphMaker,
) -> None:
    graph = graphs(policy={})
    assert graph.peer.change("configure")
    assert graph.peer.set(safety__hold_recover=0.35) == []
    (why,) = graph.peer.set(safety__reset_after=0.01)
    assert "more than the 0.02 s between two inferences" in why
    assert graph.peer.change("activate")
    pipeline = graph.node.configured.pipeline
    assert pipeline.settings.hold_recover_ns == 350_000_000
    assert graph.peer.set(safety__late_ticks=7) == []
    wait_until(lambda: pipeline.settings.late_ticks == 7)
    assert pipeline.settings.hold_recover_ns == 350_000_000


@pytest.mark.parametrize(
    ("changes", "before"),
    [
        ({"require_arming": True}, False),
        ({"dry_run": True}, False),
        ({"rate": 25.0}, math.nan),  # not set
        ({"use_sim_time": True}, False),
        ({"command__type": "joint_trajectory"}, "joint_state"),
        ({"joints__left_joint__sign": -1.0}, 1.0),
        ({"joints__left_joint__max_velocity": 3.0}, math.nan),
    ],
)
def test_what_configure_has_read_is_refused_until_cleanup(
    graphs: GraphMaker, changes: dict[str, Any], before: Any
) -> None:
    """Formerly such a set was accepted, shown by get, and ignored."""
    ((name, value),) = changes.items()
    shown = name.replace("__", ".")
    graph = graphs(policy={}, allow_rate_mismatch=True)
    assert graph.peer.change("configure")
    for _ in range(2):
        (why,) = graph.peer.set(**changes)
        assert why == (
            f"parameter {shown}: read while configuring; "
            "deactivate and clean up the node, set it, configure again"
        )
        assert graph.node.get_parameter_or(shown).value == pytest.approx(before, nan_ok=True)
        assert graph.peer.change("activate")
        assert graph.peer.change("deactivate")
    if before is not None:  # setting the present value again is allowed
        assert graph.peer.set(**{name: before}) == []
    assert graph.peer.change("cleanup")
    assert graph.peer.set(**changes) == []
    graph.activate()
    assert graph.node.get_parameter(shown).value == value
    config, spec = graph.node.configured.config, graph.node.configured
    assert {
        "require_arming": lambda: config.safety.require_arming,
        "dry_run": lambda: spec.command_topic == "~/dry_run",
        "rate": lambda: spec.pipeline.settings.period_ns == 40_000_000,
        "use_sim_time": lambda: config.loop.simulated,
        "command__type": lambda: config.command.type == value,
        "joints__left_joint__sign": lambda: config.joints["left_joint"].sign == -1.0,
        "joints__left_joint__max_velocity": lambda: config.joints["left_joint"].max_velocity == 3.0,
    }[name]()


def test_a_strict_stamp_needs_a_header_live_too(graphs: GraphMaker) -> None:
    graph = graphs(policy={}, inputs__command__type="geometry_msgs/msg/Twist")
    assert graph.peer.change("configure")
    (why,) = graph.peer.set(inputs__command__strict_stamp=True)
    assert why == (
        "parameter inputs.command.strict_stamp: expected false, since a geometry_msgs/msg/Twist "
        "has no header, got true"
    )
    assert graph.peer.set(inputs__joints__strict_stamp=True) == []


def test_a_policy_set_while_it_is_inactive_is_loaded(graphs: GraphMaker, tmp_path: Any) -> None:
    graph = graphs(policy={})
    assert graph.peer.change("configure")
    (why,) = graph.peer.set(policy=str(tmp_path / "nowhere"))
    assert "nowhere" in why
    other = write_policy(tmp_path / "other", name="other")
    assert graph.peer.set(policy=str(other)) == []
    assert graph.node.configured.spec.name == "other"
    graph.peer.feed()
    assert graph.peer.change("activate")
    graph.await_decision("RUN")
    assert graph.node.configured.spec.name == "other"


def test_settings_that_came_with_the_end_of_a_loop_are_not_lost(graphs: GraphMaker) -> None:
    graph = graphs(policy={}, use_sim_time=True)
    graph.activate()
    assert graph.peer.set(safety__hold_recover=0.35) == []  # no tick will use it
    assert graph.peer.change("deactivate")
    assert graph.peer.change("activate")
    assert graph.node.configured.pipeline.settings.hold_recover_ns == 350_000_000


class Slow:
    """A pipeline that is slow to take settings."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.during = lambda: None

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "settings":
            self.taken.append(value)
            self.during()
        else:
            super().__setattr__(name, value)


def test_settings_are_neither_lost_nor_given_to_another_policy() -> None:
    from policy_runner.ros.runner.control_loop import ControlLoop, LoopOptions, LoopPorts

    first, second = Slow(), Slow()
    ticker: Any = SimpleNamespace(continue_from=lambda _before: None)
    commands: Any = SimpleNamespace(continue_from=lambda _before: None)
    ports = LoopPorts(ticker, [], commands, cast(Any, None))
    options = LoopOptions(dry_run=False, lockstep=False, window=10)
    loop: Any = ControlLoop(cast(Any, first), ports, options, lambda: None, None)
    # The second setting arrives while the control thread takes the first.
    first.during = lambda: loop.swap_settings("b", first) if len(first.taken) == 1 else None
    loop.swap_settings("a", first)
    take(loop)
    assert first.taken == ["a", "b"]
    loop.pipeline = second
    loop.swap_settings("for the first", first)
    loop.swap_settings("for the second", second)
    take(loop)
    assert (first.taken, second.taken) == (["a", "b"], ["for the second"])


def take(loop: Any) -> None:
    """Do the first part of a tick: the calls."""
    while loop._calls:
        loop._calls.pop(0)()
