"""Faults of an inference in a lane (docs/reference/faults.md), with policies of chunks."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from children import Nursery
from fault_rig import FaultGraph
from fault_rig import nursery as nursery

STEPS = 25  # of a chunk: half a second
SLOW, HANGING = 5.0, 20_000.0  # of the model's loop; 1.0 takes about 0.2 s

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)


@pytest.fixture(scope="module")
def chunked(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultGraph]:
    """One runner with a policy of chunks, whose inferences run in a process."""
    graph = FaultGraph(
        nursery,
        tmp_path_factory.mktemp("chunked"),
        chunk=STEPS,
        inference__timeout=4.0,
        inference__tolerance=0.25,
        **{f"inputs__{name}__max_age": 3.0 for name in ("joints", "imu", "command")},
        safety__hold_recover=0.05,
    )
    yield graph
    graph.close()


@pytest.fixture
def lane(chunked: FaultGraph) -> Iterator[FaultGraph]:
    """The shared graph; after the test the robot's messages are restored."""
    yield chunked
    chunked.velocity, chunked.twist = [1.0, -2.0], [0.5, 0.25, 0.0, 0.0]
    chunked.silent.clear()


def slow(graph: FaultGraph, share: float) -> None:
    graph.twist[2] = share


def inference_pid(graph: FaultGraph) -> int:
    """The process that infers, by its parent."""
    children = Path(f"/proc/{graph.child.pid}/task").glob("*/children")
    found = [int(one) for path in children for one in path.read_text().split()]
    (pid,) = [p for p in found if b"lane_process" in Path(f"/proc/{p}/cmdline").read_bytes()]
    return pid


def test_inference_longer_than_its_chunk(lane: FaultGraph) -> None:
    lane.shows("inference longer than its chunk", lambda: slow(lane, SLOW), lambda: slow(lane, 0.0))


def test_inference_hangs(lane: FaultGraph) -> None:
    before = inference_pid(lane)
    lane.shows("inference hangs", lambda: slow(lane, HANGING), lambda: slow(lane, 0.0))
    assert inference_pid(lane) != before


def test_inference_process_is_killed(lane: FaultGraph) -> None:
    before = inference_pid(lane)
    values = lane.shows(
        "inference process killed", lambda: os.kill(before, signal.SIGKILL), lambda: None
    )
    assert values["lane"] == "process"
    assert inference_pid(lane) != before


def test_inference_process_is_refused(lane: FaultGraph) -> None:
    spec = lane.policy / "policy.yaml"
    good = spec.read_bytes()

    def cause() -> None:
        spec.write_bytes(good + b"\n")
        os.kill(inference_pid(lane), signal.SIGKILL)

    def cure() -> None:
        answer = lane.peer.trigger("reload")
        assert answer.success, answer.message

    try:
        lane.shows("inference process refused", cause, cure)
    finally:
        spec.write_bytes(good)


def test_chunk_with_nan(lane: FaultGraph) -> None:
    def root(value: float) -> None:
        lane.twist[3] = value

    lane.shows("chunk with NaN", lambda: root(2.0), lambda: root(0.0))


def test_reset_during_an_inference(lane: FaultGraph) -> None:
    """The inference takes less than a chunk, so only the reset can stop the motion."""

    def cause() -> None:
        slow(lane, 2.0)
        time.sleep(0.1)
        assert lane.peer.trigger("reset").success

    lane.shows("reset during an inference", cause, lambda: slow(lane, 0.0))


def test_inputs_too_far_apart(lane: FaultGraph) -> None:
    lane.shows("inputs too far apart", lambda: lane.silent.add("command"),
               lambda: lane.silent.discard("command"))  # fmt: skip
