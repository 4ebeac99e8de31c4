"""Arming, disarming and the emergency stop in a ROS graph; a silent or failing executor."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import Any

import pytest
from children import wait_until
from runner_rig import Graph, GraphMaker
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
MOVING, ZERO = [2.0, -4.0], [0.0, 0.0]


def commands_of(graph: Graph) -> list[Any]:
    from sensor_msgs.msg import JointState

    return graph.peer.hear(JointState, "joint_commands", 500)


def await_command(commands: list[Any], values: list[float], timeout_s: float = 10.0) -> None:
    wait_until(
        lambda: commands and list(commands[-1][1].velocity) == values, timeout_s, f"{values}"
    )


def estop(graph: Graph, pressed: bool) -> float:
    """Publish on ~/estop; return the time of that."""
    from std_msgs.msg import Bool

    publisher = graph.peer.publisher(Bool, f"{graph.peer.runner}/estop")
    wait_until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(Bool(data=pressed))
    return time.monotonic()


def block_the_executor(graph: Graph, seconds: float) -> None:
    """Keep the runner's one executor thread busy from now on."""
    begun: list[bool] = []

    def work() -> None:
        if not begun:
            begun.append(True)
            time.sleep(seconds)

    graph.node.create_timer(0.0, work)
    wait_until(lambda: begun, what="a blocked executor", every_s=0.002)


def test_bring_up(graphs: GraphMaker) -> None:
    """From activation to commands and back, as an operator does it."""
    graph = graphs(policy={}, require_arming=True)
    commands = commands_of(graph)
    graph.activate()
    graph.await_decision("STARTING", "not armed")
    answer = graph.peer.trigger("arm")
    assert not answer.success
    assert answer.message.startswith("not armed: input never seen: joints: no ")
    graph.peer.feed()
    wait_until(lambda: graph.await_decision("STARTING", "not armed") == "call ~/arm")
    assert not commands
    graph.await_status("safety", "STARTING: not armed: call ~/arm")
    answer = graph.peer.trigger("arm")
    assert (answer.success, answer.message) == (True, "armed")
    await_command(commands, MOVING)
    answer = graph.peer.trigger("disarm")
    assert (answer.success, answer.message) == (True, "disarmed: call ~/arm to continue")
    await_command(commands, ZERO)
    graph.await_decision("SAFE_STOP", "disarmed")
    assert graph.peer.trigger("arm").success
    await_command(commands, MOVING)
    assert graph.peer.change("deactivate")
    assert graph.peer.change("activate")
    graph.await_decision("STARTING", "not armed")
    assert graph.peer.change("deactivate")
    for service in ("arm", "disarm", "reset"):
        answer = graph.peer.trigger(service)
        assert (answer.success, answer.message) == (False, "the node is not active")


def test_the_emergency_stop_needs_no_executor(graphs: GraphMaker) -> None:
    graph = graphs(policy={}, safety__recover="auto", safety__hold_recover=0.1)
    commands = commands_of(graph)
    graph.peer.feed()
    graph.activate()
    estop(graph, False)
    await_command(commands, MOVING)
    block_the_executor(graph, 1.0)
    pressed = estop(graph, True)
    await_command(commands, ZERO, 0.5)
    assert commands[-1][0] - pressed < 0.2
    graph.await_decision("SAFE_STOP", "operator stop")
    assert not graph.peer.trigger("arm").success
    estop(graph, False)
    time.sleep(0.4)
    graph.await_decision("SAFE_STOP", "operator stop")
    assert graph.peer.trigger("arm").success
    await_command(commands, MOVING)


def test_an_executor_that_falls_silent_stops_until_it_is_back(graphs: GraphMaker) -> None:
    graph = graphs(policy={}, safety__executor_timeout=1.5, safety__hold_recover=0.1)
    commands = commands_of(graph)
    graph.peer.feed()
    graph.activate()
    await_command(commands, MOVING)
    block_the_executor(graph, 2.5)
    await_command(commands, ZERO, 2.5)
    graph.await_decision("SAFE_STOP", "executor silent")
    assert graph.peer.trigger("arm").success  # the executor serves again
    await_command(commands, MOVING)


def test_callbacks_that_keep_failing_stop(graphs: GraphMaker) -> None:
    graph = graphs(policy={}, safety__callback_failures=3)
    commands = commands_of(graph)
    graph.peer.feed()
    graph.activate()
    await_command(commands, MOVING)
    failures: list[int] = []

    def fail() -> None:
        if len(failures) < 3:
            failures.append(1)
            raise RuntimeError("odd")

    graph.node.create_timer(0.05, fail)
    await_command(commands, ZERO)
    assert graph.await_decision("SAFE_STOP", "callbacks failing") == "3 within a minute"
    assert not graph.peer.trigger("arm").success


def test_arming_is_answered_while_simulated_time_stands_still(graphs: GraphMaker) -> None:
    graph = graphs(policy={}, use_sim_time=True, require_arming=True)
    graph.activate()
    begin = time.monotonic()
    answer = graph.peer.trigger("arm")
    assert not answer.success
    assert answer.message.startswith("no answer within 0.5 s, withdrawn")
    assert time.monotonic() - begin < 1.5


def test_an_estop_that_cannot_be_heard_is_reported(graphs: GraphMaker) -> None:
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from std_msgs.msg import Bool

    graph = graphs(policy={})
    graph.peer.feed()
    graph.activate()
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    graph.peer.publisher(Bool, f"{graph.peer.runner}/estop", qos)
    graph.await_status("inputs", "~/estop: incompatible QoS on /policy_runner/estop")


def test_why_an_input_is_silent_is_the_heartbeat_s_detail_within_2_s(graphs: GraphMaker) -> None:
    graph = graphs(policy={}, diagnostics__period=10.0)
    assert graph.peer.change("configure")
    begin = time.monotonic()
    assert graph.peer.change("activate")
    says = lambda: graph.await_decision("STARTING", "input never seen")  # noqa: E731
    wait_until(lambda: says() == "joints: no publisher on /joint_states", 2.0)
    assert time.monotonic() - begin < 2.0


def test_a_stamp_that_is_days_off_is_said_and_stops_nobody_who_is_not_strict(
    graphs: GraphMaker,
) -> None:
    graph = graphs(policy={}, inputs__joints__max_age=5.0)
    commands = commands_of(graph)
    graph.activate()
    stamp_ns = time.time_ns() - 66 * 86_400_000_000_000
    joints = {"left_joint": 1.0, "right_joint": -2.0}

    def fed() -> bool:
        graph.peer.joints(joints, stamp_ns=stamp_ns)
        return bool(commands) and list(commands[-1][1].velocity) == MOVING

    wait_until(fed)
    graph.await_status("inputs", "joints: the header stamp is 57024")
    assert graph.statuses()["inputs"].level == b"\1"
    assert graph.peer.set(inputs__joints__strict_stamp=True) == []
    assert graph.await_decision("HOLD", "header stamp").startswith("joints: the header stamp is")
    await_command(commands, ZERO)


def test_an_exception_in_the_control_thread_sends_the_last_command_and_says_so(
    graphs: GraphMaker,
) -> None:
    graph = graphs(policy={})
    commands = commands_of(graph)
    heard = graph.heartbeat()
    graph.peer.feed()
    graph.activate()
    await_command(commands, MOVING)

    def fail() -> None:
        raise RuntimeError("odd")

    graph.node.loop.call(fail)
    await_command(commands, ZERO)
    wait_until(lambda: heard[-1][1].status[0].level == b"\2")
    said = {pair.key: pair.value for pair in heard[-1][1].status[0].values}
    assert (said["decision"], said["reason"]) == ("SAFE_STOP", "control thread failed")
    assert said["detail"] == "RuntimeError: odd"
    values = graph.await_status("safety", "SAFE_STOP: control thread failed: RuntimeError: odd")
    assert values["decision"] == "SAFE_STOP"
    assert graph.node.loop.last_command_acknowledged is True
    count, beats = len(commands), len(heard)
    time.sleep(0.3)
    assert (len(commands), len(heard)) == (count, beats)  # then the runner is silent
    answer = graph.peer.trigger("arm")
    assert (answer.success, answer.message) == (False, "the control thread has ended: odd")


def test_the_last_command_goes_out_from_under_a_thread_that_hangs(graphs: GraphMaker) -> None:
    graph = graphs(policy={})
    commands = commands_of(graph)
    graph.peer.feed()
    graph.activate()
    await_command(commands, MOVING)
    step = graph.node.configured.pipeline.step

    def hang(*arguments: Any) -> Any:
        time.sleep(3.0)
        return step(*arguments)

    graph.node.configured.pipeline.step = hang
    time.sleep(0.1)
    begin = time.monotonic()
    assert not graph.peer.change("deactivate")
    assert time.monotonic() - begin < 2.5
    await_command(commands, ZERO, 1.0)
    wait_until(lambda: not graph.node.loop.running, 5.0)
    time.sleep(0.1)
    assert list(commands[-1][1].velocity) == ZERO  # no command follows it


def test_a_question_is_answered_or_withdrawn_and_never_both() -> None:
    from policy_runner.ros.runner.handover import Handover

    loop: Any = None  # not used: the requests are settled directly
    withdrawn, answered = Handover(loop), Handover(loop)
    assert not withdrawn.wait(0.0)
    assert not withdrawn.answer(True, "armed")  # too late: it must not arm
    assert answered.answer(True, "armed")
    assert answered.wait(0.0)
    assert not answered.answer(False, "not armed")
    assert (answered.accepted, answered.message) == (True, "armed")
