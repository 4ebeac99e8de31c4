"""`policy-runner serve` over HTTP: actions, protocol v2, and what is refused with which status."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_rig import signals
from serve_rig import Served, ask, needs_server, observation, served

pytestmark = needs_server


def nested(k: int, **more: Any) -> dict[str, Any]:
    """A body of /act."""
    inputs: dict[str, Any] = {}
    for key, value in observation(signals(20), k).items():
        name, _, field = key.partition("/")
        inputs.setdefault(name, {})[field] = value
    return {"observation": inputs, **more}


def test_actions_are_those_of_a_session(server: Served) -> None:
    session, connection = server.policy.session(), server.connection()
    for k in range(3):
        status, answer = ask(connection, "/act", nested(k, details=True))
        wanted, _ = session.answer({**observation(signals(20), k), "details": True})
        assert status == 200
        assert answer["actions"] == wanted["actions"].tolist()
        assert answer["details"]["observation/obs"] == wanted["observation/obs"].tolist()
        assert answer["action_names"] == ["hip", "knee"]
        assert set(answer["timing"]) == {"queue_ms", "inference_ms", "total_ms"}
        assert 0.0 < answer["timing"]["inference_ms"] <= answer["timing"]["total_ms"]
    connection.close()


def test_a_connection_has_its_state_and_a_reset_forgets_it(server: Served) -> None:
    one, other = server.connection(), server.connection()
    first = ask(one, "/act", nested(0))[1]["actions"]
    second = ask(one, "/act", nested(0))[1]["actions"]
    assert first != second  # the policy reads its last action
    assert ask(other, "/act", nested(0))[1]["actions"] == first
    assert ask(one, "/reset", {})[0] == 200
    assert ask(one, "/act", nested(0))[1]["actions"] == first
    assert ask(one, "/act", nested(0, reset=True))[1]["actions"] == first
    one.close()
    other.close()


def test_several_simulators_in_one_request(server: Served) -> None:
    connection = server.connection()
    body = nested(0)
    for fields in body["observation"].values():
        for key in set(fields) - {"name"}:
            fields[key] = [fields[key]] * 2
    status, answer = ask(connection, "/act?batch=2", body)
    assert (status, answer["decision"]) == (200, ["RUN", "RUN"])
    assert ask(connection, "/act?batch=2", {**body, "reset": [True, False]})[0] == 200
    assert ask(connection, "/act?batch=100000", body)[0] == 422
    connection.close()


def test_pages_about_the_policy(server: Served) -> None:
    connection = server.connection()
    assert ask(connection, "/healthz") == (200, b"OK\n")
    health = ask(connection, "/healthz", headers={"Accept": "application/json"})[1]
    assert health["model_sha256"] == server.policy.loaded.model.sha256
    assert ask(connection, "/schema")[1] == server.policy.schema
    assert ask(connection, "/metadata")[1]["policy"] == "toy"
    api = ask(connection, "/openapi.json")[1]
    assert {"/act", "/reset", "/healthz", "/schema", "/metadata", "/v2/models/{name}/infer"} <= set(
        api["paths"]
    )
    assert "timing" in api["components"]["schemas"]["ActAnswer"]["properties"]
    connection.close()


def test_protocol_v2_gives_the_models_numbers(server: Served) -> None:
    from policy_runner.backends.remote.client.v2_client import V2Client

    client = V2Client(server.v2())
    metadata = client.connect()
    assert metadata["inputs"] == [{"name": "obs", "datatype": "FP32", "shape": [1, 13]}]
    given = np.random.default_rng(1).normal(size=(1, 13)).astype(np.float32)
    found, parameters = client.ask({"obs": given}, 10.0)
    tensors = server.policy.tensors
    assert tensors is not None
    assert found["actions"].tobytes() == tensors.run({"obs": given})["actions"].tobytes()
    assert set(parameters) == {"queue_ms", "inference_ms", "total_ms"}
    client.close()


@pytest.mark.parametrize("path", ["health/live", "health/ready", "models/toy/ready", "",
                                  "models/toy/versions/1", "models/toy/config"])  # fmt: skip
def test_protocol_v2_has_its_paths(server: Served, path: str) -> None:
    connection = server.connection()
    assert ask(connection, f"/v2/{path}".rstrip("/"))[0] == 200
    connection.close()


@pytest.mark.parametrize(
    ("path", "body", "status", "word"),
    [
        ("/act", {"observation": {"imo": {}}}, 422, "keys imu/..."),
        ("/act", {"observation": {"imo": {"a": 1}}}, 422, "did you mean 'imu'"),
        ("/act", {"observation": {"imu": {"angular_velocity": {}}}}, 422, "numbers"),
        ("/act", {"observation": {"imu": {"angular_velocity": [[1], [2, 3]]}}}, 400, "lengths"),
        ("/act", {"observation": 3}, 422, "observation"),
        ("/act", [1], 422, "body"),
        ("/act", {"time": "secret-text"}, 422, "time"),
        ("/v2/models/other/infer", {"inputs": []}, 422, "the model 'toy'"),
        ("/v2/models/toy/infer", {"inputs": []}, 422, "none for obs"),
        ("/v2/models/toy/infer", {"inputs": 3}, 400, "not a list"),
        ("/nothing", {}, 404, ""),
    ],
)
def test_bad_requests_are_answered_with_a_sentence(
    server: Served, path: str, body: Any, status: int, word: str
) -> None:
    connection = server.connection()
    found, answer = ask(connection, path, body)
    assert found == status
    assert word in json.dumps(answer)
    assert "secret-text" not in json.dumps(answer)
    assert ask(connection, "/healthz")[0] == 200
    connection.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Length": "99999999999"}, 413),
        ({"Content-Length": "x"}, 400),
        ({"Origin": "http://evil.example"}, 403),
        ({"Host": "evil.example"}, 403),
    ],
)
def test_the_guard_refuses_before_any_route(
    server: Served, headers: dict[str, str], status: int
) -> None:
    connection = server.connection()
    assert ask(connection, "/act", {}, headers)[0] == status
    connection.close()


def test_a_body_without_stated_length_ends_at_the_bound(policy: Path) -> None:
    from policy_runner.backends.remote.protocols.bounds import WireLimits

    with served(policy, limits=WireLimits(most_bytes=100_000)) as server:
        connection = server.connection()
        pieces = iter([b"x" * 50_000] * 5)
        connection.request("POST", "/act", pieces, {"Content-Type": "application/json"},
                           encode_chunked=True)  # fmt: skip
        assert connection.getresponse().status == 413
        connection.close()


def test_overload_is_answered_in_time(policy: Path) -> None:
    """The model is held by a first request; the second one waits for 0.2 s and gets 503."""
    from policy_runner.serving.server.serve_settings import Bounds

    with served(policy, bounds=Bounds(wait_s=0.2)) as server:
        found: list[int] = []

        def first() -> None:
            connection = server.connection()
            found.append(ask(connection, "/act", nested(0))[0])
            connection.close()

        thread = threading.Thread(target=first)
        with server.held():
            thread.start()
            while not server.offer.turns.busy:
                time.sleep(0.005)
            connection = server.connection()
            began = time.monotonic()
            status, answer = ask(connection, "/act", nested(0))
            waited = time.monotonic() - began
            assert ask(connection, "/healthz")[0] == 200
        thread.join()
        assert (status, found) == (503, [200])
        assert "not free within 0.2 s" in answer["error"]
        assert waited > 0.15
        connection.close()


def test_more_connections_than_allowed_get_503(policy: Path) -> None:
    from policy_runner.serving.server.serve_settings import Bounds

    with served(policy, bounds=Bounds(most_connections=2)) as server:
        kept = [server.connection() for _ in range(2)]
        assert [ask(one, "/healthz")[0] for one in kept] == [200, 200]
        third = server.connection()
        assert ask(third, "/healthz")[0] == 503
        kept.pop().close()
        third.close()
        until = time.monotonic() + 10.0
        while ask(server.connection(), "/healthz")[0] != 200:
            assert time.monotonic() < until


def test_a_connection_without_request_is_closed(policy: Path) -> None:
    import socket

    from policy_runner.serving.server.serve_settings import Bounds

    with served(policy, bounds=Bounds(request_s=1.0)) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10.0) as one:
            one.sendall(b"POST /act HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            assert one.recv(100) == b""
        client_thread_is_unharmed = server.connection()
        client_thread_is_unharmed.request("GET", "/healthz")
        assert client_thread_is_unharmed.getresponse().status == 200
        client_thread_is_unharmed.close()
