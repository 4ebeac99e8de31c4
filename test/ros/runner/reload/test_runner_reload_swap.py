"""The swap: done once and completely, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from children import wait_until
from runner_rig import GraphMaker, values_by_name, write_policy
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)


def loop_at(ticks: int, call: Callable[[Callable[[], None]], Any]) -> Any:
    return SimpleNamespace(ticks=ticks, running=True, call=call)


def test_the_old_one_is_free_after_a_whole_tick_of_the_new_one() -> None:
    from policy_runner.ros.runner.handover import Handover
    from policy_runner.ros.runner.reload import swap

    def call(function: Callable[[], None]) -> None:
        loop.ticks = 8  # the tick during which the swap was requested
        function()

    loop = loop_at(7, call)
    handover = Handover(loop)
    assert not handover.has_ticked()
    swap(handover, lambda: None, 1.0)
    assert not handover.has_ticked()  # 8 > 7, but the new policy's tick is not over
    loop.ticks = 9
    assert handover.has_ticked()


def test_what_is_withdrawn_is_not_made_later() -> None:
    from policy_runner.core.errors import Refusal
    from policy_runner.ros.runner.handover import Handover
    from policy_runner.ros.runner.reload import swap

    asked: list[Callable[[], None]] = []
    made: list[bool] = []
    loop = loop_at(7, asked.append)
    handover = Handover(loop)
    with pytest.raises(Refusal, match="is the simulator paused"):
        swap(handover, lambda: made.append(True), 0.01)
    asked[0]()
    loop.ticks = 9
    assert not made
    assert not handover.has_ticked()
    loop.running = False
    assert handover.has_ticked()


def test_one_that_is_late_but_begun_is_waited_for() -> None:
    from policy_runner.ros.runner.handover import Handover
    from policy_runner.ros.runner.reload import swap

    begun = threading.Event()

    def call(function: Callable[[], None]) -> None:
        threading.Thread(target=function).start()
        begun.wait(1.0)

    def slow() -> None:
        begun.set()
        threading.Event().wait(0.1)
        loop.ticks = 20

    loop = loop_at(7, call)
    handover = Handover(loop)
    swap(handover, slow, 0.01)
    assert not handover.has_ticked()
    loop.ticks = 21
    assert handover.has_ticked()


def test_a_swap_that_fails_leaves_the_old_policy_running(
    graphs: GraphMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sensor_msgs.msg import JointState

    from policy_runner.ros.runner.ticker import WallTicker

    def broken(_ticker: Any, _before: Any) -> None:
        raise AttributeError("another kind of ticker")

    graph = graphs(policy={"counts": True})
    commands = graph.peer.hear(JointState, "joint_commands", 500)
    graph.peer.feed(rate_hz=200.0)
    graph.activate()
    wait_until(lambda: len(commands) > 10, 10.0)
    before = graph.node.configured
    count = values_by_name(commands[-1][1])["left_joint"]
    write_policy(tmp_path / "policy")
    with monkeypatch.context() as patched:
        patched.setattr(WallTicker, "continue_from", broken)
        answer = graph.peer.trigger("reload")
    assert not answer.success
    assert "got AttributeError: another kind of ticker" in answer.message
    assert graph.node.configured is before
    assert graph.node.loop.error is None
    wait_until(lambda: values_by_name(commands[-1][1])["left_joint"] > count + 10, 5.0, "the old")
    assert graph.peer.trigger("reload").success
    wait_until(lambda: values_by_name(commands[-1][1])["left_joint"] == 2.0, 5.0, "the new one")


def test_topics_that_are_left_go_once_the_last_command_is_acknowledged(
    graphs: GraphMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sensor_msgs.msg import JointState

    from policy_runner.ros.outputs.command_publisher import CommandPublisher

    graph = graphs(policy={})
    commands = graph.peer.hear(JointState, "joint_commands", 500)
    graph.peer.feed(rate_hz=200.0)
    graph.activate()
    wait_until(lambda: len(commands) > 10, 10.0)
    confirmed = threading.Event()
    groups = [
        {"kind": "velocity", "joints": ["left_joint"], "slice": [0, 1]},
        {"kind": "effort", "joints": ["right_joint"], "slice": [1, 2]},
    ]
    write_policy(tmp_path / "policy", action=[{"tensor": "actions", "groups": groups}])
    with monkeypatch.context() as patched:
        patched.setattr(
            CommandPublisher, "wait_for_acknowledgement", lambda *_, **__: confirmed.is_set()
        )
        assert graph.peer.trigger("reload").success
        wait_until(lambda: list(commands[-1][1].velocity) == [0.0, 0.0], 2.0, "the stop")
        threading.Event().wait(0.3)
        assert graph.node.count_publishers("joint_commands") == 1
        confirmed.set()
        wait_until(lambda: graph.node.count_publishers("joint_commands") == 0, 2.0, "its end")
