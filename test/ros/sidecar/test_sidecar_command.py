"""The command topic measured from outside, in a real graph."""

from __future__ import annotations

import threading
import time
from importlib.util import find_spec

import pytest
from fake_board import write_board
from sidecar_graph import BOARD, Graph

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="rclpy is not installed")


@pytest.fixture
def graph(tmp_path):
    opened = Graph(write_board(tmp_path, BOARD))
    yield opened
    opened.close()


def policy(found):
    return {pair.key: pair.value for pair in found["policy"].values}


def test_rate_of_commands_then_their_end_although_the_runner_says_run(graph):
    from sensor_msgs.msg import JointState

    publisher = graph.other.create_publisher(JointState, "joint_commands", 1)
    commanding, speaking = threading.Event(), threading.Event()
    commanding.set()
    speaking.set()

    def runner():
        tick, due = 0, time.monotonic()
        while speaking.is_set():
            tick += 1
            if commanding.is_set():
                publisher.publish(JointState(name=["a"], velocity=[1.0]))
            if tick % 50 == 0:
                graph.speak(ticks=tick)
            due += 0.01
            time.sleep(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=runner)
    thread.start()
    try:
        found = graph.wait_for(lambda f: not policy(f)["command rate [Hz]"].startswith("n/a"))
        time.sleep(2.5)
        found = graph.statuses()
        assert float(policy(found)["command rate [Hz]"]) == pytest.approx(100.0, rel=0.1)
        assert float(policy(found)["command jitter p99 [us]"]) < 50_000.0
        assert policy(found)["command publishers"] == "1"
        commanding.clear()
        ended = time.monotonic()
        found = graph.wait_for(lambda f: f["policy"].level == b"\2")
        assert time.monotonic() - ended < 2.0
        assert found["policy"].message == "no command for 1 s although the runner says RUN"
    finally:
        speaking.clear()
        thread.join()


def test_type_that_is_not_installed_is_no_end():
    from policy_runner.ros.sidecar.command_watch import installed_class

    assert installed_class("no_such_package/msg/Thing") is None
    assert installed_class("sensor_msgs/msg/NoSuchThing") is None
    assert installed_class("sensor_msgs/msg/JointState").__name__ == "JointState"
