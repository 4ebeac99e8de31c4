"""Every lane gives the results of the tick, to the bit: numbers, sequences, images, histories."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from children import wait_until
from lane_policy import MS, bound, feed, write_policy

from policy_runner.core.errors import Refusal
from policy_runner.core.lane.interface import LaneEvent, LaneRequest
from policy_runner.core.pipeline.chunked import ChunkedPolicy
from policy_runner.robot.load import LoadedPolicy
from policy_runner.robot.reload_gate import GATE

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="needs onnx")


def results(loaded: LoadedPolicy) -> list[LaneEvent]:
    """Ask for inferences every 20 ms, with a sample in between, as the control thread does."""
    policy = loaded.pipeline.policy
    assert isinstance(policy, ChunkedPolicy)
    lane, found = policy.requests.lane, list[LaneEvent]()
    while (event := lane.poll()) is not None:
        assert event.kind == "ready"
    for k in range(8):
        now_ns = k * 20 * MS
        feed(loaded, k, now_ns)
        if k % 3 == 1:
            lane.sample(now_ns)
            continue
        lane.start(LaneRequest(k + 1, now_ns, 0, k == 0))
        lane.wait(20.0)
        event = lane.poll()
        assert event is not None
        found.append(event)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_policy(tmp_path_factory.mktemp("lanes"))


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[LaneEvent]:
    loaded = bound(folder, "control")
    found = results(loaded)
    loaded.close()
    assert all(one.rows is not None for one in found), found
    assert not np.array_equal(found[0].rows, found[1].rows)
    return found


@pytest.mark.parametrize("lane", ["thread", "process"])
def test_a_lane_computes_what_the_tick_computes(
    folder: Path, expected: list[LaneEvent], lane: str
) -> None:
    loaded = bound(folder, lane)
    try:
        found = results(loaded)
        assert [one.sequence for one in found] == [one.sequence for one in expected]
        for one, other in zip(found, expected, strict=True):
            assert one.rows is not None
            assert other.rows is not None
            assert one.rows.tobytes() == other.rows.tobytes()
    finally:
        loaded.close()


def test_a_damaged_image_is_a_fault_of_the_observation(folder: Path) -> None:
    loaded = bound(folder, "thread")
    try:
        lane = loaded.pipeline.policy.requests.lane  # type: ignore[attr-defined]
        lane.poll()
        feed(loaded, 0, 0)
        loaded.pipeline.slots["camera"].keepers[""].message.encoding = "yuv"  # type: ignore[attr-defined]
        lane.start(LaneRequest(1, 0, 0, True))
        lane.wait(10.0)
        event = lane.poll()
        assert event.rows is None
        assert not event.of_action
        assert "encoding 'yuv'" in event.why
    finally:
        loaded.close()


def test_a_thread_that_was_given_up_is_ready_when_it_returns(folder: Path) -> None:
    loaded = bound(folder, "thread")
    try:
        lane = loaded.pipeline.policy.requests.lane  # type: ignore[attr-defined]
        lane.poll()
        feed(loaded, 0, 0)
        lane.start(LaneRequest(1, 0, 0, True))
        lane.give_up("as asked")
        lane.wait(10.0)
        assert lane.poll() == LaneEvent("ready")
        lane.start(LaneRequest(2, 0, 0, True))
        lane.wait(10.0)
        assert lane.poll().sequence == 2
    finally:
        loaded.close()


def test_a_policy_that_the_process_refuses_is_refused_once(folder: Path, tmp_path: Path) -> None:
    bad = write_policy(tmp_path / "bad")
    (bad / "toy.onnx").write_bytes((bad / "toy.onnx").read_bytes()[:100])
    with pytest.raises(Refusal) as caught:
        bound(bad, "process")
    assert len({str(one) for one in caught.value.problems}) == len(caught.value.problems)
    assert "toy.onnx" in str(caught.value.problems[0])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"publish_vectors": True}, "publish_vectors: expected false"),
        ({"inference.every": 0.1}, "inference.every: expected not set"),
        ({"inference.simulated_latency": 3.0}, "less than inference.timeout (2 s), got 3"),
        ({"inference.cpu_affinity": [999]}, "inference.cpu_affinity: expected cores from 0 to"),
    ],
)
def test_parameters_that_do_not_hold_are_refused(
    folder: Path, values: dict[str, Any], says: str
) -> None:
    with pytest.raises(Refusal, match=says.replace("(", r"\(").replace(")", r"\)")):
        bound(folder, "auto", **values)


def test_the_process_ends_with_its_parent_whatever_ends_it(folder: Path) -> None:
    code = (
        "import sys, time; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path; from lane_policy import bound\n"
        "loaded = bound(Path(sys.argv[1]), 'process')\n"
        "print(loaded.pipeline.policy.requests.lane.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), *sys.path], stdout=subprocess.PIPE
    )
    try:
        assert parent.stdout is not None
        process = Path(f"/proc/{int(parent.stdout.readline())}")
        assert b"lane_process" in (process / "cmdline").read_bytes()
    finally:
        parent.kill()
        parent.wait()
        assert parent.stdout is not None
        parent.stdout.close()

    def gone() -> bool:
        return not process.exists() or "Z" in (process / "stat").read_text().split()[2]

    wait_until(gone, 10.0, "the end of the inference process")


@pytest.mark.parametrize(
    ("gate", "changed", "says"),
    [
        (False, "toy.onnx", "was refused: the policy's files have changed; reload it"),
        (True, "weights.bin", "expected the files that the node has loaded, got others; reload it"),
    ],
)
def test_a_process_that_starts_again_runs_the_files_of_its_first_start(
    tmp_path: Path, gate: bool, changed: str, says: str
) -> None:
    """Those that the gate of a reload has judged, with their weights, if there is a gate."""
    import onnx

    path = write_policy(tmp_path / "policy") / "toy.onnx"
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin",
              size_threshold=200)  # fmt: skip
    loaded = bound(path.parent, "process", **{GATE: gate})
    try:
        lane = loaded.pipeline.policy.requests.lane  # type: ignore[attr-defined]
        assert lane.poll() == LaneEvent("ready")
        with path.with_name(changed).open("ab") as file:
            file.write(b"\x32\x01x")  # protobuf: a doc_string
        lane.give_up("as asked")
        lane.wait(60.0)
        event = lane.poll()
        assert event.kind == "failed"
        assert says in event.why
    finally:
        loaded.close()
