"""Faults of an inference in a lane (docs/reference/faults.md), with policies of chunks.

Those of a server (`backend: remote`) run in this process; one of them through a whole node.
"""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_server import GIGABYTE, BadServer
from children import Nursery
from fault_rig import FaultGraph
from fault_rig import nursery as nursery
from fault_table import FAULTS, FaultRow
from lane_policy import bound, feed
from lane_policy import write_policy as write_lane_policy

from policy_runner.robot.load import LoadedPolicy

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
    lane.well()  # then there is a process
    before = inference_pid(lane)
    lane.shows("inference hangs", lambda: slow(lane, HANGING), lambda: slow(lane, 0.0))
    assert inference_pid(lane) != before


def test_inference_process_is_killed(lane: FaultGraph) -> None:
    lane.well()
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


# --- a model on a server ---

DEADLINE_S = 0.2
needs_client = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("websockets", "msgpack", "onnx")),
    reason="needs the extra [remote] and onnx",
)


def nothing(_given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {"actions": np.zeros((1, 4, 2), np.float32)}


class Remote:
    """A policy whose model is on a bad server, stepped in real time."""

    def __init__(self, folder: Path, server: BadServer, protocol: str, **more: Any) -> None:
        self.server = server
        url = server.urls[protocol]
        self.loaded: LoadedPolicy = bound(
            write_lane_policy(folder), "thread", backend="remote",
            **{"remote.url": url, "remote.deadline": DEADLINE_S, "remote.connect_timeout": 1.0,
               **more},
        )  # fmt: skip
        self.decisions: list[str] = []
        self._k = 0

    def until(self, decision: str, says: str = "", within_s: float = 5.0) -> None:
        """Step until the decision and its reason are these."""
        safety, begun_s = self.loaded.pipeline.safety, time.monotonic()
        while time.monotonic() - begun_s < within_s:
            self.step()
            if self.decisions[-1] == decision and says in f"{safety.reason.value}: {safety.detail}":
                return
        shown = f"{safety.decision.name}: {safety.reason.value}: {safety.detail}"
        raise AssertionError(f"not {decision} {says!r} within {within_s} s, but {shown}")

    def step(self) -> None:
        now_ns = time.monotonic_ns()
        feed(self.loaded, self._k, now_ns)
        self._k += 1
        self.decisions.append(self.loaded.pipeline.step(now_ns).decision.name)
        time.sleep(0.01)

    def shows(self, row: FaultRow, cause: Callable[[], None], cure: Callable[[], None]) -> None:
        """Cause a fault and cure it; compare decision, reason, time and recovery with its row."""
        self.until("RUN", within_s=10.0)
        begun_s = time.monotonic()
        cause()
        self.until(row.decision, row.reason)
        assert time.monotonic() - begun_s <= row.decided_s
        self.until(row.decision, row.says.removeprefix(f"{row.decision}: "), 2.0)
        cure()
        if row.recovers == "~/arm":
            for _ in range(30):  # longer than hold_recover
                self.step()
                assert self.decisions[-1] == row.decision
            self.arm()
        self.until("RUN", within_s=row.recovers_s)

    def arm(self) -> None:
        """Arm until no fault latches the stop again, as an operator does."""
        until_s = time.monotonic() + 5.0
        while self.decisions[-1] == "SAFE_STOP" and time.monotonic() < until_s:
            self.loaded.pipeline.safety.arm()
            self.step()


RemoteMaker = Callable[..., Remote]


@pytest.fixture
def remotes(tmp_path: Path) -> Iterator[RemoteMaker]:
    """`remotes(protocol, tls=None, **parameters)`: a policy and its server."""
    opened: list[Remote] = []

    def make(protocol: str, tls: ssl.SSLContext | None = None, **more: Any) -> Remote:
        metadata = {"controls": {"id": "repeated"}} if protocol == "openpi" else {}
        server = BadServer(nothing, metadata, late_s=3 * DEADLINE_S)
        server.tls = tls
        opened.append(Remote(tmp_path / "policy", server, protocol, **more))
        return opened[-1]

    yield make
    for one in opened:
        one.server.kill()
        one.loaded.close()


@needs_client
@pytest.mark.parametrize("protocol", ["openpi", "v2"])
@pytest.mark.parametrize(
    ("fault", "mode", "openpi", "v2"),
    [
        ("server hangs", "hangs", "slow or hangs", "slow or hangs"),
        ("server answers garbage", "garbage", "is it an openpi server", "no HTTP"),
        ("server answers another shape", "shape", "got float32", "got float32"),
        ("server answers NaN", "nan", "", ""),
        ("server reports an error", "error", "KeyError: 'obs'", "KeyError: 'obs'"),
        ("server announces 1 GB", "gigabyte", f"{GIGABYTE} bytes", f"{GIGABYTE} bytes"),
        ("server sends half an answer", "half", "slow or hangs", "slow or hangs"),
        ("answer of another request", "other", "slow or hangs", "to request 9"),
    ],
)
def test_a_server_that_misbehaves(
    fault: str, mode: str, openpi: str, v2: str, protocol: str, remotes: RemoteMaker
) -> None:
    """The reason of each protocol is its own."""
    remote = remotes(protocol)
    says = openpi if protocol == "openpi" else v2

    def cause() -> None:
        remote.server.mode = mode
        remote.until(FAULTS[fault].decision, says)

    def cure() -> None:
        remote.server.mode = "good"

    tracemalloc.start()  # resident memory would not have what is allocated and never written
    try:
        remote.shows(FAULTS[fault], cause, cure)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < GIGABYTE // 4  # what a server announces is not allocated


@needs_client
@pytest.mark.parametrize("protocol", ["openpi", "v2"])
def test_a_server_that_is_killed_and_started_again(protocol: str, remotes: RemoteMaker) -> None:
    remote = remotes(protocol)
    server = remote.server
    remote.shows(FAULTS["server killed"], server.kill, server.start)


@needs_client
@pytest.mark.parametrize("protocol", ["openpi", "v2"])
def test_a_late_answer_is_dropped_and_the_next_one_counts(
    protocol: str, remotes: RemoteMaker
) -> None:
    """The robot holds and runs in turns."""
    remote = remotes(protocol)
    row = FAULTS["server slow by jitter"]
    remote.until("RUN", within_s=10.0)
    remote.server.mode = "late"
    for _ in range(2):
        remote.until(row.decision, row.reason, row.decided_s)
        remote.until("RUN", within_s=row.recovers_s)
    assert "SAFE_STOP" not in remote.decisions


def _certificate(folder: Path, begin: str, end: str) -> tuple[Path, Path]:
    """A certificate of this time that signs itself, and its key."""
    folder.mkdir()
    (folder / "index.txt").touch()
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\nnew_certs_dir = .\nrand_serial = yes\n"
        "default_md = sha256\npolicy = p\ncopy_extensions = copy\n[p]\ncommonName = supplied\n"
    )
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    for words in (
        ("req", "-new", *key, *names, "-out", "csr.pem"),
        ("ca", "-batch", "-selfsign", "-config", "ca.cnf", "-keyfile", "key.pem", "-in", "csr.pem",
         "-startdate", begin, "-enddate", end, "-notext", "-out", "certificate.pem"),
    ):  # fmt: skip
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=30)
    return folder / "certificate.pem", folder / "key.pem"


@needs_client
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
@pytest.mark.parametrize("protocol", ["openpi", "v2"])
def test_a_certificate_that_expires(protocol: str, remotes: RemoteMaker, tmp_path: Path) -> None:
    contexts, trusted = [], tmp_path / "trusted.pem"
    for name, end in (("good", "21000101000000Z"), ("expired", "20240101000000Z")):
        path, key = _certificate(tmp_path / name, "20200101000000Z", end)
        contexts.append(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        contexts[-1].load_cert_chain(path, key)
        with trusted.open("ab") as file:
            file.write(path.read_bytes())
    good, expired = contexts
    remote = remotes(protocol, good, **{"remote.authorities": str(trusted)})

    def present(one: ssl.SSLContext) -> Callable[[], None]:
        def change() -> None:
            remote.server.tls = one
            remote.server.drop()

        return change

    remote.shows(FAULTS["certificate expired"], present(expired), present(good))


@needs_client
def test_a_node_whose_server_ends_and_starts_again(nursery: Nursery, tmp_path: Path) -> None:
    """Through the node and the process of its lane, which does not end."""

    def answer(given: Mapping[str, Any]) -> dict[str, np.ndarray]:
        obs = given["obs"].reshape(-1)
        return {"actions": np.tile(2.0 * obs[:2] + obs[2:4], (1, STEPS, 1)).astype(np.float32)}

    server = BadServer(answer)
    graph = FaultGraph(
        nursery, tmp_path, chunk=STEPS, backend="remote", remote__url=server.urls["openpi"],
        remote__deadline=0.4, remote__connect_timeout=0.4, inference__timeout=4.0,
        safety__hold_recover=0.05,
        **{f"inputs__{name}__max_age": 3.0 for name in ("joints", "imu", "command")},
    )  # fmt: skip
    try:
        graph.well()
        before = inference_pid(graph)
        graph.shows("server killed", server.kill, server.start)
        assert inference_pid(graph) == before
    finally:
        graph.close()
        server.kill()
