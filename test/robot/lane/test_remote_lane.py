"""`backend: remote`: the server's results are those of the model here, and its end is a fault."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models
import yaml
from children import wait_until
from dummy_servers import openpi_dummy
from lane_policy import MS, bound, feed, write_policy
from serve_rig import Served, needs_server, served

from policy_runner.backends.remote.server_options import ASKS
from policy_runner.cli.main import main
from policy_runner.core.errors import Refusal
from policy_runner.core.lane.interface import LaneEvent, LaneRequest
from policy_runner.core.pipeline.chunked import ChunkedPolicy
from policy_runner.core.safety.decision import Decision
from policy_runner.robot.load import LoadedPolicy, load_policy
from policy_runner.robot.parameters.remote import REMOTE_ROWS

pytestmark = needs_server
EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "reference" / "examples"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def lane_of(loaded: LoadedPolicy) -> Any:
    assert isinstance(loaded.pipeline.policy, ChunkedPolicy)
    return loaded.pipeline.policy.requests.lane


def infer(loaded: LoadedPolicy, k: int) -> LaneEvent:
    """Feed the messages k and wait for the inference's result."""
    lane = lane_of(loaded)
    feed(loaded, k, k * 20 * MS)
    while (event := lane.poll()) is not None:
        assert event.kind == "ready"
    lane.start(LaneRequest(k + 1, k * 20 * MS, 0, k == 0))
    lane.wait(20.0)
    event = lane.poll()
    assert event is not None
    assert event.kind == "result", event
    return event


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_policy(tmp_path_factory.mktemp("remote"))


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Served]:
    with served(folder) as running:
        yield running


def remote(folder: Path, url: str, lane: str = "auto", **more: Any) -> LoadedPolicy:
    return bound(folder, lane, **{"backend": "remote", "remote.url": url, **more})


@pytest.mark.parametrize(("lane", "scheme"), [("auto", "http"), ("thread", "ws")])
def test_a_server_gives_the_bits_of_the_model_here(
    folder: Path, server: Served, lane: str, scheme: str
) -> None:
    url = server.v2().url if scheme == "http" else f"{server.url}/tensors"
    here, there = bound(folder, "control"), remote(folder, url, lane)
    try:
        assert lane_of(there).kind == ("process" if lane == "auto" else lane)
        assert there.model.provider == f"remote {scheme}://127.0.0.1:{server.port}"
        assert there.model.sha256 == here.model.sha256
        for k in range(6):
            one, other = infer(here, k), infer(there, k)
            assert one.rows is not None
            assert other.rows is not None, other.why
            assert one.rows.tobytes() == other.rows.tobytes()
        wait_until(lambda: there.model.live_facts().get("server") == "answers")
        found = there.model.live_facts()
        assert (found["connections"], found["failures in a row"]) == ("1", "0")
        assert 0.0 < float(found["server time [ms]"]) < float(found["round trip p99 [ms]"])
    finally:
        here.close()
        there.close()


def without_file(folder: Path, to: Path) -> Path:
    """The same policy with the tensors in place of the file, as openpi has them: no batch."""
    content = yaml.safe_load((folder / "policy.yaml").read_text())
    content["model"] = {
        "tensors": {
            "inputs": {
                "obs": {"dtype": "float64", "shape": [21]},
                "image": {"dtype": "uint8", "shape": [3, 4, 6]},
            },
            "outputs": {"actions": {"dtype": "float32", "shape": [4, 2]}},
        }
    }
    content["observation"][1]["whole"]["scale"] = 1.0
    to.mkdir()
    (to / "policy.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return to


def test_openpi_without_a_file_sends_and_takes_what_the_spec_states(
    folder: Path, tmp_path: Path
) -> None:
    spec = without_file(folder, tmp_path / "bare")
    sent = np.arange(8, dtype=np.float32).reshape(4, 2) / 8

    with openpi_dummy(lambda _: {"actions": sent, "state": np.zeros(2)}) as dummy:
        loaded = remote(spec, dummy.url)
        try:
            event = infer(loaded, 0)
            assert event.rows is not None, event.why
            positions = loaded.pipeline.slots["joints"]
            np.testing.assert_array_equal(event.rows - event.rows[0], sent - sent[0])
            assert positions.count > 0
            (given,) = dummy.seen
            assert set(given) == {"obs", "image"}
            assert (given["obs"].dtype, given["obs"].shape) == (np.float64, (21,))
            assert (given["image"].dtype, given["image"].shape) == (np.uint8, (3, 4, 6))
            assert given["image"].max() > 100
        finally:
            loaded.close()


def test_a_server_that_comes_and_goes_is_a_fault_with_its_reason_and_no_more(
    folder: Path, tmp_path: Path
) -> None:
    spec, port = without_file(folder, tmp_path / "bare"), free_port()
    answer = {"actions": np.zeros((4, 2), np.float32)}
    loaded = remote(spec, f"ws://127.0.0.1:{port}")  # it is not there yet: a warning
    try:
        assert any("holds until the server answers" in text for text in loaded.warnings)
        lane, k = lane_of(loaded), iter(range(100_000))

        def works() -> bool:
            time.sleep(0.01)
            return infer(loaded, next(k)).rows is not None

        lost = infer(loaded, next(k))
        assert lost.rows is None
        assert "start the server" in lost.why
        assert not lost.of_action
        pid = lane.pid
        for _ in range(2):
            with openpi_dummy(lambda _: answer, port):
                wait_until(works, 20.0)
            event = infer(loaded, next(k))
            assert event.rows is None
            assert f"127.0.0.1:{port}" in event.why or "127.0.0.1" in event.why
        assert (lane.pid, lane.starts) == (pid, 1)  # the process never ended
        wait_until(lambda: loaded.model.live_facts()["connections"] == "2")
        wait_until(lambda: int(loaded.model.live_facts()["failures in a row"]) > 0)
    finally:
        loaded.close()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"actions": np.zeros((5, 2), np.float32)}, "expected float32 [4, 2], got float32 [5, 2]"),
        ({"actions": np.zeros((4, 2))}, "expected float32 [4, 2], got float64 [4, 2]"),
        ({"action": np.zeros((4, 2))}, "an answer without 'actions' (it has action"),
        ({"actions": [0.0] * 8}, "'actions' of the answer is no array"),
    ],
)
def test_an_answer_of_another_shape_is_never_used(
    folder: Path, tmp_path: Path, changed: dict[str, Any], sentence: str
) -> None:
    spec = without_file(folder, tmp_path / "bare")
    with openpi_dummy(lambda _: changed) as dummy:
        loaded = remote(spec, dummy.url, "thread")
        try:
            event = infer(loaded, 0)
            assert event.rows is None
            assert sentence in event.why
            assert not event.of_action  # HOLD, not SAFE_STOP
        finally:
            loaded.close()


def test_a_server_with_other_tensors_is_refused_at_configure(
    folder: Path, server: Served, tmp_path: Path
) -> None:
    spec = without_file(folder, tmp_path / "bare")
    with pytest.raises(Refusal, match=r"the server has float32 \[1, 3, 4, 6\], the policy uint8"):
        remote(spec, server.v2().url)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"inference.lane": "control"}, "a tick must not wait for a server"),
        ({"remote.deadline": 1.5}, "parameter remote.deadline: expected less than 1.5 s"),
        ({"remote.url": ""}, "parameter remote.url: expected the server's address"),
        ({"remote.url": "http://h:1"}, "expected http://HOST:PORT/v2/models/NAME"),
        ({"remote.url": "http://u:p@h/v2/models/m"}, "without secrets"),
        ({"remote.token_file": "/nowhere"}, "a file with the token"),
        ({"remote.authorities": "/nowhere"}, "a PEM file of certificates"),
        ({"device": "gpu"}, "parameter device: expected auto: the server decides it, got gpu"),
    ],
)
def test_parameters_that_contradict_each_other(
    folder: Path, values: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POLICY_RUNNER_REMOTE_URL", raising=False)
    given = {"backend": "remote", "remote.url": "http://127.0.0.1:1/v2/models/m", **values}
    lane = given.pop("inference.lane", "thread")
    with pytest.raises(Refusal, match=sentence.replace("(", r"\(")):
        bound(folder, lane, **given)


def step_recurrent(loaded: LoadedPolicy, k: int) -> np.ndarray | None:
    """Feed tick k and step; return the raw action, None on HOLD."""
    rng, now_ns = np.random.default_rng(k), (k + 1) * 20 * MS
    names = {"name": loaded.spec.joint_names, "position": rng.normal(size=12)}
    loaded.feed("joint_states", {**names, "velocity": rng.normal(size=12)}, now_ns)
    twist = {f"twist.twist.{one}": rng.normal(size=3) for one in ("linear", "angular")}
    loaded.feed("odom", {**twist, "pose.pose.orientation": [0.0, 0.0, 0.0, 1.0]}, now_ns)
    axes = ("linear.x", "linear.y", "angular.z")
    loaded.feed("cmd_vel", {f"twist.{axis}": 0.1 * k for axis in axes}, now_ns)
    runs = loaded.pipeline.step(now_ns).decision is Decision.RUN
    return loaded.pipeline.policy.raw_action.copy() if runs else None


def test_a_recurrent_state_outlives_the_server(tmp_path: Path) -> None:
    """An LSTM's state travels with each request; another server continues with it."""
    small_models.recurrent(tmp_path)
    shutil.copy(EXAMPLES / "recurrent.yaml", tmp_path / "policy.yaml")
    port = free_port()
    params = tmp_path / "params.yaml"
    url = f"http://127.0.0.1:{port}/v2/models/recurrent"
    given = {"backend": "remote", "remote.url": url, "safety.hold_recover": 0.0}
    params.write_text(yaml.safe_dump({"/**": {"ros__parameters": given}}))
    here = load_policy(tmp_path)
    with served(tmp_path, port=port):
        there = load_policy(tmp_path, params)
        for k in range(3):
            np.testing.assert_array_equal(step_recurrent(there, k), step_recurrent(here, k))
    assert step_recurrent(there, 3) is not None  # an action is valid for two periods
    assert step_recurrent(there, 4) is None
    with served(tmp_path, port=port):
        time.sleep(0.2)  # the pause after the failure
        for k in range(5, 8):
            np.testing.assert_array_equal(step_recurrent(there, k), step_recurrent(here, k))
    there.close()
    here.close()


def test_check_and_inspect_need_no_file(folder: Path, tmp_path: Path, capsys: Any) -> None:
    spec = without_file(folder, tmp_path / "bare")
    assert main(["check", str(spec)]) == 0
    assert "2 commands" in capsys.readouterr().out
    assert main(["inspect", str(spec), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["inputs"][0] == {"name": "image", "dtype": "uint8", "shape": [3, 4, 6]}
    assert found["model"]["sha256"] == ""
    assert main(["inspect", str(spec)]) == 0
    assert "only a server has it" in capsys.readouterr().out
    assert main(["inspect", str(spec), "--graph", str(tmp_path / "g.svg")]) == 1
    assert "only the `tensors` of a model on a server" in capsys.readouterr().err


def test_only_backend_remote_runs_a_spec_without_a_file(folder: Path, tmp_path: Path) -> None:
    spec = without_file(folder, tmp_path / "bare")
    with pytest.raises(Refusal, match="only the `tensors` of a model on a server; set backend"):
        bound(spec, "control")


def test_the_graph_can_set_none_of_the_parameters() -> None:
    """A row that is read at the start is refused in every state; see `DeclaredParameters`."""
    assert len(REMOTE_ROWS) == 6
    assert all(row.at_start and not row.live for row in REMOTE_ROWS)


def test_the_environment_names_server_and_token(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = without_file(folder, tmp_path / "bare")
    token = "a-token-of-the-tests-0123456789"
    with openpi_dummy(lambda _: {"actions": np.zeros((4, 2), np.float32)}) as dummy:
        monkeypatch.setenv("POLICY_RUNNER_REMOTE_URL", dummy.url)
        monkeypatch.setenv("POLICY_RUNNER_TOKEN", token)
        loaded = bound(spec, "auto", backend="remote")
        try:
            assert infer(loaded, 0).rows is not None
            assert dummy.tokens == [f"Api-Key {token}"]
            assert token not in repr(loaded.values) + repr(loaded.description)
        finally:
            loaded.close()


def test_a_replay_neither_needs_nor_asks_the_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLICY_RUNNER_TOKEN", "short")  # would be refused
    loaded = bound(folder, "thread", **{"backend": "remote", ASKS: False})
    try:
        assert loaded.warnings == []
        assert "no server is asked here" in infer(loaded, 0).why
    finally:
        loaded.close()
