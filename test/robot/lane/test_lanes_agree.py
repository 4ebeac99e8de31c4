"""Every lane gives the results of the tick, to the bit: numbers, sequences, images, histories."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from children import wait_until

from policy_runner.core.errors import Refusal
from policy_runner.core.lane.interface import LaneEvent, LaneRequest
from policy_runner.core.pipeline.chunked import ChunkedPolicy
from policy_runner.core.spec import read_spec
from policy_runner.robot.load import LoadedPolicy, bind_policy
from policy_runner.robot.values import parameter_values

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="needs onnx")

STEPS, PIXELS = 4, (4, 6)
MS = 1_000_000


def write_policy(folder: Path) -> Path:
    """A chunk that depends on every number of joints, scan and image, of three frames."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    size, pixels = 3 * (2 + 5), 3 * PIXELS[0] * PIXELS[1]
    rng = np.random.default_rng(3)
    constants = {
        "w": rng.normal(size=(size, STEPS * 2)),
        "v": rng.normal(size=(pixels, STEPS * 2)),
        "shape": np.array([1, STEPS, 2]),
        "flat": np.array([1, pixels]),
    }

    def tensor(name: str, shape: list[int]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["obs", "w"], ["a"]),
            helper.make_node("Reshape", ["image", "flat"], ["pixels"]),
            helper.make_node("MatMul", ["pixels", "v"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["c"]),
            helper.make_node("Reshape", ["c", "shape"], ["actions"]),
        ],
        "toy",
        [tensor("obs", [1, size]), tensor("image", [1, 3, *PIXELS])],
        [tensor("actions", [1, STEPS, 2])],
        [
            numpy_helper.from_array(
                value.astype(np.int64 if value.dtype.kind == "i" else np.float32), name
            )
            for name, value in constants.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / "toy.onnx"))
    history = {"length": 3, "stack": "frame", "order": "oldest_first", "fill": "repeat"}
    image = {"term": "image", "input": "camera", "color": "rgb", "size": [*PIXELS],
             "layout": "chw", "scale": 0.01}  # fmt: skip
    spec = {
        "schema": "policy_runner/1",
        "name": "toy",
        "model": {"file": "toy.onnx"},
        "control_dt": 0.02,
        "joint_names": ["a", "b"],
        "inputs": {
            "joints": {"type": "sensor_msgs/msg/JointState", "topic": "joint_states"},
            "scan": {"type": "sensor_msgs/msg/LaserScan", "topic": "scan"},
            "camera": {"type": "sensor_msgs/msg/Image", "topic": "image"},
        },
        "observation": [
            {
                "tensor": "obs",
                "terms": [
                    {"term": "joint_position", "input": "joints"},
                    {
                        "term": "field",
                        "input": "scan",
                        "field": "ranges",
                        "pool": {"bins": 5, "by": "min"},
                    },
                ],
                "normalization": "none",
                "history": history,
            },
            {"tensor": "image", "whole": image, "normalization": "none"},
        ],
        "action": [
            {
                "tensor": "actions",
                "groups": [
                    {"kind": "position", "joints": ["a", "b"], "relative_to": "measured"},
                ],
            }
        ],
        "chunk": {"dt": 0.02},
        "last_action": "raw",
    }
    (folder / "policy.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return folder


def bound(folder: Path, lane: str, **more: Any) -> LoadedPolicy:
    spec_file = read_spec(folder)
    values, _ = parameter_values(None, spec_file.spec, [], [])
    given = {"inference.lane": lane, "require_arming": False, **more}
    return bind_policy(spec_file, {**values, **given}, False)


def feed(loaded: LoadedPolicy, k: int, now_ns: int) -> None:
    """Message k of every input; the camera sends every second one."""
    rng = np.random.default_rng(k)
    names = {"name": ["b", "a"], "position": rng.normal(size=2)}
    loaded.feed("joints", names, now_ns)
    loaded.feed("scan", {"ranges": rng.uniform(1.0, 2.0, 5)}, now_ns)
    if k % 2 == 0:
        pixels = rng.integers(0, 256, (*PIXELS, 3), dtype=np.uint8)
        image = SimpleNamespace(
            height=PIXELS[0], width=PIXELS[1], step=3 * PIXELS[1] + 1, encoding="bgr8",
            is_bigendian=0, data=np.pad(pixels.reshape(PIXELS[0], -1), ((0, 0), (0, 1))).tobytes(),
        )  # fmt: skip
        loaded.feed("camera", {"": image}, now_ns)


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
        "from pathlib import Path; from test_lanes_agree import bound\n"
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
