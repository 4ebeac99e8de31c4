"""A missing engine: refused, or built while the node continues to answer."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from children import wait_until
from gpu_for_children import fake_gpu as fake_gpu
from runner_rig import GraphMaker, write_policy
from runner_rig import graphs as graphs

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="needs rclpy"),
    pytest.mark.usefixtures("fake_gpu"),
]


@pytest.fixture
def made(graphs: GraphMaker, tmp_path: Path) -> Callable[..., Any]:
    """A runner with the TensorRT backend and a cache of its own."""

    def make(**parameters: Any) -> Any:
        return graphs(
            policy={}, backend="tensorrt", engines__folder=str(tmp_path / "engines"), **parameters
        )

    return make


class Asked(threading.Thread):
    """A transition that the test requests without waiting for it."""

    def __init__(self, graph: Any, verb: str = "configure") -> None:
        super().__init__(daemon=True)
        self.result: bool | None = None
        self._ask = lambda: graph.peer.change(verb)
        self.start()

    def run(self) -> None:
        self.result = self._ask()


def builders() -> list[int]:
    """Return the process ids of the building children."""
    found = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())],
        stdout=subprocess.PIPE, text=True, check=False,
    ).stdout  # fmt: skip
    return [int(line.split()[0]) for line in found.splitlines() if "engine_process" in line]


def test_without_an_engine_configure_names_the_command(made: Callable[..., Any]) -> None:
    graph = made()
    assert not graph.peer.change("configure")
    (problem,) = graph.node._problems
    assert "expected a TensorRT engine that was built on this machine, got none in" in problem
    assert "run `policy-runner engine build " in problem
    assert "--set engines.folder=" in problem
    assert graph.peer.state() == "unconfigured"


def test_while_it_builds_everybody_gets_an_answer(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TRT_BUILD_SECONDS", "4")
    graph = made(build_in_configure=True, diagnostics__period=0.2)
    graph.statuses()
    assert graph.peer.state() == "unconfigured"
    asked = Asked(graph)
    wait_until(builders, 10.0, "a building child")
    slowest = 0.0

    def timed(call: Callable[[], Any]) -> Any:
        nonlocal slowest
        begun = time.monotonic()
        result = call()
        slowest = max(slowest, time.monotonic() - begun)
        return result

    graph.await_status("engine", "building the engine")
    rounds = 0
    while asked.result is None and builders():
        state = timed(graph.peer.state)
        assert state == "configuring" or not builders()
        assert timed(lambda: graph.peer.set(safety__hold_recover=0.3)) == []
        assert not timed(lambda: graph.peer.trigger("arm")).success
        answer = timed(lambda: graph.peer.trigger("reload"))
        assert answer.message == "the node is not configured" or not builders()
        reasons = timed(lambda: graph.peer.set(policy="/elsewhere"))
        assert (reasons and "an engine is being built" in reasons[0]) or not builders()
        rounds += 1
        time.sleep(0.1)
    assert rounds > 5
    assert slowest < 1.5  # a build takes 4 s
    asked.join(20.0)
    assert asked.result is True
    assert graph.peer.state() == "inactive"
    graph.await_status("engine", "the engine is built")
    said = [s.message for _, m in graph.peer.heard["/diagnostics"] for s in m.status
            if s.name.endswith(": engine")]  # fmt: skip
    assert any(" %" in text for text in said)
    # A value that was set during the build is used.
    assert graph.node.configured.values["safety.hold_recover"] == 0.3
    assert graph.peer.change("activate")


@pytest.mark.parametrize("wrong", ["device", "file"])
def test_what_is_wrong_is_told_together_before_any_build(
    made: Callable[..., Any], tmp_path: Path, wrong: str
) -> None:
    device = "gpu:x" if wrong == "device" else "auto"
    graph = made(build_in_configure=True, device=device, joints__left_joint__sign=0.5)
    if wrong == "file":
        (tmp_path / "policy" / "toy.onnx").unlink()
    assert not graph.peer.change("configure")
    says = {"device": "parameter device: expected auto, cpu, gpu, or gpu:N",
            "file": "model.file: expected an ONNX file, got no file"}[wrong]  # fmt: skip
    told = graph.node._problems
    assert any(says in text for text in told), told
    assert any("parameter joints.left_joint.sign" in text for text in told), told
    assert not list((tmp_path / "engines").glob("*"))


def test_what_was_built_is_found_again(made: Callable[..., Any], tmp_path: Path) -> None:
    graph = made(build_in_configure=True)
    assert graph.peer.change("configure"), graph.node._problems
    (engine,) = (tmp_path / "engines").glob("*.engine")
    written = engine.read_bytes()
    assert graph.peer.change("cleanup")
    assert graph.peer.set(build_in_configure=False) == []
    assert graph.peer.change("configure"), graph.node._problems
    assert engine.read_bytes() == written
    graph.await_status("model", "toy")


def test_a_transition_is_refused_and_a_shutdown_ends_the_build(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    monkeypatch.setenv("FAKE_TRT_BUILD_SECONDS", "60")
    graph = made(build_in_configure=True)
    asked = Asked(graph)
    (pid,) = wait_until(builders, 10.0, "a building child") or []
    again = ChangeState.Request()
    again.transition.id = Transition.TRANSITION_CONFIGURE
    assert not graph.peer.call(ChangeState, "change_state", again).success
    assert builders() == [pid]
    again.transition.id = Transition.TRANSITION_UNCONFIGURED_SHUTDOWN
    assert not graph.peer.call(ChangeState, "change_state", again).success
    asked.join(5.0)
    assert asked.result is False
    assert graph.node._problems == ["the build was cancelled"]
    assert builders() == []
    assert graph.peer.state() == "unconfigured"
    assert not list((tmp_path / "engines").glob("*.engine"))


def test_the_end_of_the_process_ends_the_build(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_TRT_BUILD_SECONDS", "60")
    graph = made(build_in_configure=True)
    asked = Asked(graph)
    wait_until(builders, 10.0, "a building child")
    begun = time.monotonic()
    assert graph.node.end(1.0)
    wait_until(lambda: not builders(), 5.0, "the child's end")
    assert time.monotonic() - begun < 1.0
    asked.join(5.0)
    assert asked.result is False


@pytest.mark.parametrize("how", ["refused", "killed"])
def test_a_build_that_fails_says_why(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "refused":
        monkeypatch.setenv("FAKE_TRT_FAIL", "build")
    else:
        monkeypatch.setenv("FAKE_TRT_BUILD_SECONDS", "60")
    graph = made(build_in_configure=True)
    graph.statuses()
    asked = Asked(graph)
    if how == "killed":
        (pid,) = wait_until(builders, 10.0, "a building child") or []
        graph.await_status("engine", "building the engine")
        os.kill(pid, signal.SIGKILL)
    asked.join(20.0)
    assert asked.result is False
    says = {"refused": "a model that TensorRT can build", "killed": "ended with SIGKILL"}[how]
    assert says in graph.node._problems[0]
    assert graph.peer.state() == "unconfigured"
    graph.await_status("model", says)


def test_the_policy_of_the_rig_needs_no_engine_on_the_cpu(
    graphs: GraphMaker, tmp_path: Path
) -> None:
    write_policy(tmp_path / "cpu")
    graph = graphs(policy={}, backend="onnxruntime", build_in_configure=True)
    assert graph.peer.change("configure"), graph.node._problems
    assert builders() == []


def test_a_reload_without_an_engine_leaves_the_old_policy_running(
    made: Callable[..., Any], tmp_path: Path
) -> None:
    graph = made(build_in_configure=True)
    graph.activate()
    for engine in (tmp_path / "engines").glob("*.engine"):
        engine.unlink()
    answer = graph.peer.trigger("reload")
    assert not answer.success
    assert "policy-runner engine build" in answer.message
    assert graph.peer.state() == "active"
    assert builders() == []  # never build while the robot runs
