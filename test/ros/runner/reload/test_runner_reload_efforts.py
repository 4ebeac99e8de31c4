"""Fading efforts continue to fade when another policy takes over: no jump up or to zero."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
from children import wait_until
from runner_rig import JOINTS, PERIOD_S, Graph, GraphMaker, write_policy
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
# Position targets are twice the velocities; effort = kp (target - 0) - kd velocity.
POLICY = {
    "action": [
        {"tensor": "actions", "groups": [{"kind": "position", "joints": list(JOINTS)}]},
    ],
    "stiffness": {"left_joint": 20.0, "right_joint": 30.0},
    "damping": 0.5,
    "effort_limit": 500.0,
}
RUNNING = [79.0, 59.5]
RAMP_S = 8.0


@contextmanager
def robot(graph: Graph) -> Iterator[None]:
    """A robot that reports position 0 and a velocity."""
    from sensor_msgs.msg import JointState

    publisher = graph.peer.publisher(JointState, "joint_states")
    ending = threading.Event()

    def work() -> None:
        message = JointState(name=list(JOINTS), position=[0.0, 0.0], velocity=[2.0, 1.0])
        while not ending.wait(0.01):
            publisher.publish(message)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def test_efforts_that_fade_go_on_fading_through_a_reload(
    graphs: GraphMaker, tmp_path: Path
) -> None:
    from sensor_msgs.msg import JointState

    graph = graphs(
        policy=POLICY,
        command__effort_from_pd=True,
        stop__ramp_s=RAMP_S,
        require_arming=False,
    )
    commands = graph.peer.hear(JointState, "joint_commands", 1000)

    def newest() -> list[float]:
        return list(commands[-1][1].effort) if commands else []

    with robot(graph):
        graph.activate()
        wait_until(lambda: newest() == RUNNING, what="efforts of the policy")
        assert graph.peer.trigger("disarm").success
        wait_until(lambda: newest()[0] < RUNNING[0], what="efforts that fade")
        write_policy(tmp_path / "policy", **{**POLICY, "damping": 1.5})
        answer = graph.peer.trigger("reload")
        assert answer.success, answer.message
        begin = len(commands)
        graph.await_decision("SAFE_STOP", "disarmed")
        wait_until(lambda: len(commands) > begin + 20, what="commands of the next policy")
        time.sleep(0.1)
        efforts = [list(message.effort) for _, message in commands]
    for k, full in enumerate(RUNNING):
        fading = [one[k] for one in efforts]
        fading = fading[max(n for n, value in enumerate(fading) if value == full) :]
        assert fading == sorted(fading, reverse=True)
        assert fading[-1] > 0.0, "a reload takes no longer than the ramp"
        # A lost message shows as a multiple of one tick's step, never as the whole distance.
        step = full * PERIOD_S / RAMP_S
        assert max(a - b for a, b in pairwise(fading)) < 10 * step
