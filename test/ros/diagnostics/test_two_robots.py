"""Two robots in two namespaces of one graph, one of them stopped: every reader tells them apart."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import aggregator_rig
import pytest
from children import wait_until
from runner_rig import GraphMaker
from runner_rig import graphs as graphs

from policy_runner.ros.aggregator import aggregator_parameters

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
ROBOTS = ("/r1", "/r2")


def safety_shown(namespace: str, names: Any) -> list[str]:
    """Names of the safety statuses in the tree of this robot's aggregator."""
    rules = list(aggregator_rig.rules(aggregator_parameters(namespace)))
    return [
        name for name in names if any(r.shown(name) == "safety" for r in rules if r.matches(name))
    ]


def test_one_of_two_robots_stops(graphs: GraphMaker) -> None:
    from std_msgs.msg import Bool

    from policy_runner.cli.monitor.screen import by_robot
    from policy_runner.ros.diagnostics.listener import DiagnosticsListener
    from policy_runner.telemetry.runner.joined_status import join
    from policy_runner.telemetry.runner.runner_statuses import RunnerStatuses

    hardware = {"hardware_id": "arm 7"}
    made = [graphs(policy={}, namespace=space, **hardware) for space in ROBOTS]
    listener = DiagnosticsListener()
    try:
        for graph in made:
            graph.peer.feed()
            graph.activate()
            graph.await_decision("RUN")
        made[1].peer.publisher(Bool, "/r2/policy_runner/estop").publish(Bool(data=True))
        made[1].await_decision("SAFE_STOP")

        def rows() -> dict[str, Any]:
            heard = listener.rows()
            safety = [heard.get(f"{space}/policy_runner: safety") for space in ROBOTS]
            said = [row.message if row is not None else "" for row in safety]
            return heard if said[0] == "RUN" and said[1].startswith("SAFE_STOP") else {}

        heard = wait_until(rows, 15.0, "RUN of /r1 and SAFE_STOP of /r2")
    finally:
        listener.close()
    assert heard is not None
    assert not [name for name in heard if name.startswith("policy_runner: ")]
    assert {row.hardware_id for row in heard.values()} == {"arm 7"}
    assert set(by_robot(heard)) == set(ROBOTS)
    for space, decision in (("/r1", "RUN"), ("/r2", "SAFE_STOP")):
        assert safety_shown(space, heard) == [f"{space}/policy_runner: safety"]
        statuses = RunnerStatuses("policy_runner", space)
        for name, row in heard.items():
            statuses.take(name, row.level, row.message, row.values, row.heard_ns)
        assert list(statuses.runners) == [f"{space}/policy_runner"]
        now_ns = max(row.heard_ns for row in heard.values())
        joined = join(statuses, {}, now_ns, 2_000_000_000)
        assert joined.values["decision"] == decision
