"""A joint's offset applies to its position only, not to other kinds of command."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
from children import wait_until
from runner_rig import JOINTS, GraphMaker
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
TURNED = {
    "joints__left_joint__offset": 0.75,
    "joints__right_joint__offset": -0.5,
    "joints__right_joint__sign": -1.0,
}
# The robot's velocities are 1 and 3, so the policy's are 1 and -3, and its action 2 and -6.
WANTED = {"position": [2.75, 5.5], "velocity": [2.0, 6.0], "effort": [2.0, 6.0]}


def _action(*groups: tuple[str, list[str]]) -> dict[str, Any]:
    made = [{"kind": kind, "joints": joints} for kind, joints in groups]
    return {"action": [{"tensor": "actions", "groups": made}]}


@pytest.mark.parametrize("kind", list(WANTED))
def test_only_a_position_has_an_offset(graphs: GraphMaker, kind: str) -> None:
    from sensor_msgs.msg import JointState

    graph = graphs(policy=_action((kind, list(JOINTS))), require_arming=False, **TURNED)
    commands = graph.peer.hear(JointState, "joint_commands", 200)
    graph.peer.speeds = (1.0, 3.0)
    graph.peer.feed()
    graph.activate()
    wait_until(lambda: commands and list(getattr(commands[-1][1], kind)) == WANTED[kind])
    if kind == "position":
        return
    graph.peer.feeds = False
    wait_until(lambda: list(getattr(commands[-1][1], kind)) == [0.0, 0.0], what="zeros")
    assert graph.peer.change("deactivate")
    assert list(getattr(commands[-1][1], kind)) == [0.0, 0.0]


def test_of_two_kinds_in_one_policy_the_position_has_it(graphs: GraphMaker) -> None:
    from sensor_msgs.msg import JointState

    left, right = JOINTS
    policy = _action(("velocity", [left]), ("position", [right]))
    graph = graphs(policy=policy, require_arming=False, **TURNED)
    velocity = graph.peer.hear(JointState, "joint_commands/velocity", 200)
    position = graph.peer.hear(JointState, "joint_commands/position", 200)
    graph.peer.speeds = (1.0, 3.0)
    graph.peer.feed()
    graph.activate()
    wait_until(lambda: velocity and list(velocity[-1][1].velocity) == [2.0])
    wait_until(lambda: position and list(position[-1][1].position) == [5.5])
