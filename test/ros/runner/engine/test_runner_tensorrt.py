"""The runner with TensorRT on a fake GPU: the executor loads, the control thread runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from children import wait_until
from gpu_for_children import fake_gpu as fake_gpu
from runner_rig import GraphMaker
from runner_rig import graphs as graphs

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="needs rclpy"),
    pytest.mark.usefixtures("fake_gpu"),
]


@pytest.fixture
def graph(graphs: GraphMaker, tmp_path: Path) -> Any:
    """A configured runner; the policy's action is its recurrent count of inferences."""
    import tensorrt  # noqa: F401 - the fake module, which finds the other fakes
    from fake_gpu import THE_GPU, FakeGpu

    THE_GPU[:] = [FakeGpu()]  # other tests may have left objects on their GPU
    made = graphs(
        policy={"counts": True},
        backend="tensorrt",
        engines__folder=str(tmp_path / "engines"),
        build_in_configure=True,
        diagnostics__period=0.2,
    )
    made.peer.feed()
    assert made.peer.change("configure"), made.node._problems
    return made


def plugged() -> Any:
    """Return the GPU of this process."""
    from fake_gpu import the_gpu

    return the_gpu()


def test_states_count_on_the_gpu_and_restart(graph: Any) -> None:
    from sensor_msgs.msg import JointState

    commands = graph.peer.hear(JointState, "joint_commands", 500)
    for _ in range(3):  # a new control thread each time
        commands.clear()
        launches = plugged().launches
        assert graph.peer.change("activate")
        wait_until(lambda: any(m.velocity[0] == 4.0 for _, m in list(commands)))
        assert graph.peer.change("deactivate")
        assert [m.velocity[0] for _, m in list(commands)][:3] == [0.0, 1.0, 2.0]
        assert plugged().launches > launches
    facts = graph.node.configured.policy.model.facts
    assert facts["states"] == "on the GPU"
    assert facts["cuda graph"] == "yes"
    assert graph.peer.change("cleanup")
    assert plugged().leaked == 0


def test_what_fails_on_the_gpu_ends_the_loop_with_the_reason(graph: Any) -> None:
    assert graph.peer.change("activate")
    graph.await_decision("RUN")
    model, gpu = graph.node.configured.policy.model, plugged()
    gpu.streams.clear()  # like after a permanent CUDA error
    wait_until(lambda: graph.node.loop is None or graph.node.loop.error is not None)
    assert "CUDA_ERROR_INVALID_HANDLE" in str(graph.node.loop.error)
    graph.await_status("safety", "SAFE_STOP: control thread failed")
    assert model.provider == "tensorrt", "the model must not move to the CPU"
    assert graph.peer.change("deactivate")
    assert graph.peer.change("cleanup"), "and it can be configured again"
    assert any(line.startswith("closing toy.onnx: ") for line in model.take_log())


def test_what_tensorrt_says_while_running_reaches_the_log(graph: Any) -> None:
    import tensorrt

    from policy_runner.backends.tensorrt.module import log_of

    assert graph.peer.change("activate")
    log = log_of(tensorrt)
    log.logger.log(tensorrt.ILogger.Severity.WARNING, "a word from the engine")
    wait_until(lambda: not log._lines, 5.0)
