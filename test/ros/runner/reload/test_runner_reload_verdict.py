"""`reload.require_verdict`: the running policy continues unless the new one has passed."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from runner_rig import GraphMaker, write_policy
from runner_rig import graphs as graphs

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)


def judge(folder: Path, fulfilled: bool) -> None:
    """Write a report of the files as they are."""
    from policy_runner.core.spec import read_spec
    from policy_runner.robot.reload_gate import SCHEMA, policy_files, verdict_path

    report = {
        "schema": SCHEMA,
        "policy": {"files": policy_files(read_spec(folder))},
        "requirements": [{"requirement": "falls == 0", "fulfilled": fulfilled}],
    }
    verdict_path(folder / "policy.yaml").write_text(json.dumps(report), "utf-8")


def test_only_a_passed_evaluation_of_the_new_files_is_swapped_in(
    graphs: GraphMaker, tmp_path: Path
) -> None:
    graph = graphs(policy={}, reload__require_verdict=True)
    graph.peer.feed(rate_hz=200.0)
    graph.activate()  # the first policy needs no verdict
    graph.await_decision("RUN")
    folder, before = tmp_path / "policy", graph.node.configured

    def refused(sentence: str) -> None:
        answer: Any = graph.peer.trigger("reload")
        assert not answer.success
        assert sentence in answer.message
        assert graph.node.configured is before

    write_policy(folder, counts=True)
    refused("since reload.require_verdict is true, got no such file")
    judge(folder, fulfilled=False)
    refused("expected `falls == 0`, got a report that says it is not fulfilled")
    judge(folder, fulfilled=True)
    answer = graph.peer.trigger("reload")
    assert answer.success, answer.message
    assert graph.node.configured is not before
    before = graph.node.configured
    write_policy(folder)  # the report is of other files now
    refused("that was evaluated, got another one")
    graph.await_decision("RUN")
