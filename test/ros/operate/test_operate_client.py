"""`policy-runner ctl` in a graph with a runner: what it does, its exit codes, its sentences."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from children import wait_until
from runner_rig import GraphMaker
from runner_rig import graphs as graphs
from text_policy import write_text_policy

from policy_runner.cli.main import main

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
Ctl = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The request to end, without signal handlers: this process is the test session."""
    from policy_runner.cli.operate import ctl as module
    from policy_runner.ros.process.lifetime import EndRequest

    made = EndRequest()
    monkeypatch.setattr(module, "end_on_signal", lambda at_once: made)
    return made


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One client for all calls of a test to a node: each discovery takes up to 3 s."""
    from policy_runner.ros.operate import client as module

    kept: dict[tuple[str, float], Any] = {}
    make, close = module.RunnerClient, module.RunnerClient.close

    def get(name: str, ended: Any, timeout_s: float) -> Any:
        key = (name, timeout_s)
        if key not in kept:
            kept[key] = make(name, ended, timeout_s)
        return kept[key]

    monkeypatch.setattr(module, "RunnerClient", get)
    monkeypatch.setattr(make, "close", lambda _self: None)
    yield
    for one in kept.values():
        close(one)


@pytest.fixture
def ctl(
    clients: None,
    ended: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Ctl:
    """`ctl("arm", …)`: (exit code, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "160")

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["ctl", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_arm_status_disarm_reset_and_reload(graphs: GraphMaker, ctl: Ctl) -> None:
    graph = graphs({}, require_arming=True, inputs__command__on_stale="zero")
    code, out, _ = ctl("status")
    assert code == 4
    assert "/policy_runner: unconfigured" in out
    assert ctl("arm") == (1, "", "policy-runner ctl arm: /policy_runner refused: the node is not"
                          " active\n")  # fmt: skip
    graph.activate()
    graph.peer.feed()
    graph.await_decision("STARTING", "not armed")
    code, out, _ = ctl("status")
    assert code == 4
    assert "/policy_runner: active, STARTING: not armed" in out
    assert "no: `policy-runner ctl arm`" in out
    assert ctl("arm") == (0, "/policy_runner: armed\n", "")
    graph.await_decision("RUN")
    code, out, _ = ctl("status")
    assert code == 0
    assert out.startswith("/policy_runner: active, RUN\n")
    assert "WARN  inputs     command: no publisher on" in out
    assert ctl("reset")[:2] == (0, "/policy_runner: histories, recurrent state and the last action"
                                " are reset\n")  # fmt: skip
    code, out, _ = ctl("reload")
    assert code == 0
    assert out.startswith("/policy_runner: toy runs, loaded in")
    assert ctl("disarm")[0] == 0
    graph.await_decision("SAFE_STOP", "disarmed")
    assert ctl("status")[0] == 4


def test_a_reason_against_arming_is_printed(graphs: GraphMaker, ctl: Ctl) -> None:
    graphs({}, require_arming=True).activate()
    code, out, err = ctl("arm")
    assert (code, out) == (1, "")
    assert err.startswith("policy-runner ctl arm: /policy_runner refused: ")
    assert "joints" in err  # the input that nothing publishes


def test_status_as_json(graphs: GraphMaker, ctl: Ctl) -> None:
    graphs({}, require_arming=True).activate()
    code, out, _ = ctl("status", "--json")
    said = json.loads(out)
    assert code == 4
    assert said["lifecycle"] == "active"
    assert said["decision"] == "STARTING"
    assert said["armed"] is False
    assert said["parts"]["model"]["values"]["policy"] == "toy"


def test_the_emergency_stop_is_confirmed_and_only_arm_ends_it(graphs: GraphMaker, ctl: Ctl) -> None:
    graph = graphs({}, require_arming=True, inputs__command__on_stale="zero",
                   safety__recover="armed", estop__quiet_time=0.1)  # fmt: skip
    code, out, _ = ctl("estop")
    assert code == 0
    assert out == "/policy_runner: the node is unconfigured; only ~/arm ends the press\n"
    graph.activate()
    graph.peer.feed()
    wait_until(lambda: ctl("arm")[0] == 0, 10.0, "armed")
    graph.await_decision("RUN")
    code, out, _ = ctl("estop")
    assert code == 0
    assert out == "/policy_runner: SAFE_STOP: operator stop: ~/estop\n"
    time.sleep(0.3)
    graph.await_decision("SAFE_STOP", "operator stop")  # the press outlives its publisher
    wait_until(lambda: ctl("arm")[0] == 0, 10.0, "armed")
    graph.await_decision("RUN")


def test_a_press_waits_for_the_runner_even_where_its_guard_hears_it_first(
    graphs: GraphMaker, ctl: Ctl
) -> None:
    from std_msgs.msg import Bool

    graphs({}, namespace="other").peer.hear(Bool, "/policy_runner/estop")
    got: list[tuple[int, str, str]] = []
    pressing = threading.Thread(target=lambda: got.append(ctl("estop", "--timeout", "20")))
    pressing.start()
    time.sleep(1.0)  # the other node has heard presses by now
    assert not got
    graph = graphs({}, require_arming=True)
    pressing.join(20.0)
    assert got
    assert got[0][0] == 0, got
    # An inactive node takes the presses four times a second.
    wait_until(lambda: graph.node.operator.pressed, 10.0, "the press counts")


def test_another_topic_of_the_emergency_stop(graphs: GraphMaker, ctl: Ctl) -> None:
    graphs({}, require_arming=True, estop__topics=["/button", "/remote"]).activate()
    code, _, err = ctl("estop")
    assert code == 3
    assert "hears /button, /remote; name one of them with --topic" in err
    code, out, _ = ctl("estop", "--topic", "/remote")
    assert code == 0
    assert "SAFE_STOP: operator stop: /remote" in out


def test_a_runner_without_a_black_box_says_so(graphs: GraphMaker, ctl: Ctl) -> None:
    graphs({}, require_arming=True, black_box__seconds=0.0)
    code, _, err = ctl("dump")
    assert code == 1
    assert "expected the service ~/dump, got a node without it" in err


def test_a_black_box_is_on_by_default(graphs: GraphMaker, ctl: Ctl) -> None:
    graphs({}, require_arming=True)
    code, _, err = ctl("dump")
    assert code == 1
    assert "the black box is empty: no policy is recorded" in err


def test_a_node_that_is_not_there(graphs: GraphMaker, ctl: Ctl) -> None:
    graphs({}, namespace="robot1")
    code, _, err = ctl("arm", "--timeout", "5")
    assert code == 3
    assert err.startswith("policy-runner ctl arm: /policy_runner: expected a running node, got none"
                          " within 5 s in ROS domain ")  # fmt: skip
    assert "'/robot1/policy_runner'" in err
    assert ctl("arm", "--namespace", "robot1")[0] == 1  # it is not active
    assert ctl("arm", "--name", "/robot1/policy_runner")[0] == 1


def test_an_interrupted_call(ctl: Ctl, ended: Any) -> None:
    threading.Timer(0.3, ended.set).start()
    begin = time.monotonic()
    code, _, err = ctl("arm", "--timeout", "30")
    assert code == 130
    assert "interrupted" in err
    assert time.monotonic() - begin < 20.0


def test_watching_survives_the_node(graphs: GraphMaker, ended: Any, ctl: Ctl) -> None:
    from policy_runner.cli.operate import status_view

    graph = graphs({}, require_arming=True)
    seen: list[Any] = []
    draw = status_view.view

    def view(report: Any) -> Any:
        seen.append(report)
        return draw(report)

    patch = pytest.MonkeyPatch()
    patch.setattr(status_view, "view", view)
    watching = threading.Thread(target=lambda: ctl("status", "--watch"))
    watching.start()
    try:
        wait_until(lambda: seen and seen[-1].lifecycle == "unconfigured")
        graph.activate()
        wait_until(lambda: seen[-1].decision == "STARTING" and seen[-1].lifecycle == "active")
        assert graph.peer.change("deactivate")
        wait_until(lambda: seen[-1].lifecycle == "inactive")
    finally:
        ended.set()
        watching.join(20.0)
        patch.undo()
    assert not watching.is_alive()


@pytest.mark.parametrize("words", [("status", "--name", "a-b"), ("arm", "--namespace", "1")])
def test_a_wrong_name_is_refused_before_anything_is_asked(ctl: Ctl, words: tuple[str, ...]) -> None:
    code, _, err = ctl(*words)
    assert code == 1
    assert "expected letters, digits and underscores" in err


def test_a_prompt_is_set_or_refused(graphs: GraphMaker, ctl: Ctl, tmp_path: Path) -> None:
    write_text_policy(tmp_path / "policy")
    graph = graphs()
    assert graph.peer.change("configure")
    assert ctl("prompt", "wave") == (0, "/policy_runner: prompt 'wave'\n", "")
    slot = graph.node.configured.pipeline.slots["prompt"]
    assert slot.text is not None
    assert slot.text.data == b"wave"
    code, out, err = ctl("prompt", "x" * 17)
    assert (code, out) == (1, "")
    assert "/policy_runner refused: " in err
    assert "a text of 17 bytes in UTF-8, at most 16 are read" in err
    assert slot.text.data == b"wave"
