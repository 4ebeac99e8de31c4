"""`policy-runner serve` and the node: the same observations give the same actions, to the bit."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from children import wait_until
from runner_rig import GraphMaker
from runner_rig import graphs as graphs
from serve_rig import needs_server, served

from policy_runner.core.black_box.records import Received, Tick

pytestmark = [
    needs_server,
    pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy"),
]


def _fields(name: str, raw: bytes) -> dict[str, Any]:
    """The keys of a request from a serialized message."""
    from geometry_msgs.msg import TwistStamped
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import JointState

    if name == "command":
        twist = deserialize_message(raw, TwistStamped).twist
        return {
            "command/twist.linear.x": twist.linear.x,
            "command/twist.angular.z": twist.angular.z,
        }
    joints = deserialize_message(raw, JointState)
    return {"joints/name": list(joints.name), "joints/velocity": np.array(joints.velocity)}


def test_a_recording_of_the_node_through_the_server(graphs: GraphMaker, tmp_path: Path) -> None:
    """The recorder wrote the node's messages and commands; each tick is one request."""
    from policy_runner.backends.remote.client.openpi_client import OpenpiClient
    from policy_runner.ros.black_box.content import read_facts, read_records

    graph = graphs(
        policy={}, black_box__seconds=30.0, black_box__folder=str(tmp_path / "boxes"),
        inputs__joints__max_age=10.0, inputs__command__max_age=10.0,
        safety__late_ticks=0, safety__late_inferences=0,  # of a busy machine
    )  # fmt: skip
    random = np.random.default_rng(5)
    graph.activate()
    graph.await_decision("STARTING")  # the first tick has no message: it begins the record
    for _ in range(60):
        graph.peer.joints(dict(zip(("right_joint", "left_joint"), random.normal(size=2))))
        if random.random() < 0.5:
            graph.peer.command(*random.normal(size=2))
        time.sleep(0.015)
    assert graph.peer.trigger("dump").success
    (file,) = wait_until(lambda: list((tmp_path / "boxes").glob("*.mcap")), 20.0, "a file")
    ran = 0
    with served(tmp_path / "policy", params=tmp_path / "parameters.yaml") as server:
        client = OpenpiClient(server.address())
        client.connect()
        given: dict[str, Any] = {}
        begun_ns = 0
        for record in read_records(file, read_facts(file)):
            if isinstance(record, Received):
                given.update(_fields(record.input, record.raw))
            elif isinstance(record, Tick):
                begun_ns = begun_ns or record.now_ns
                request = {**given, "time": (record.now_ns - begun_ns) / 1e9}
                answer = client.ask(request, 10.0)
                given = {}
                assert answer["decision"] == record.decision.name
                command = np.zeros((0, 2)) if record.command is None else record.command
                assert answer["actions"].tobytes() == command.tobytes()
                ran += record.decision.name == "RUN"
        client.close()
    assert ran > 30
