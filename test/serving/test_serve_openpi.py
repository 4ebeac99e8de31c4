"""`policy-runner serve` over openpi's protocol: state per connection, errors, bounds, memory."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_rig import signals
from serve_rig import Served, needs_server, observation, served

pytestmark = needs_server


def raw(server: Served, path: str = "/", **options: Any) -> Any:
    """A websocket as openpi's client opens it, by the library that it uses."""
    from websockets.sync.client import connect

    return connect(f"{server.url}{path}", compression=None, max_size=None, **options)


def unpacked(data: bytes | str) -> Any:
    from policy_runner.backends.remote.protocols.openpi_messages import decode

    assert isinstance(data, bytes)
    return decode(data)


def packed(given: Any) -> bytes:
    from policy_runner.backends.remote.protocols.openpi_messages import encode

    return encode(given)


def test_metadata_first_then_one_answer_for_each_request(server: Served) -> None:
    session = server.policy.session()
    with raw(server, "/any/path") as one:
        assert unpacked(one.recv())["action_names"] == ["hip", "knee"]
        for k in range(3):
            one.send(packed(observation(signals(20), k)))
            answer = unpacked(one.recv())
            wanted, _ = session.answer(observation(signals(20), k))
            assert answer["actions"].tobytes() == wanted["actions"].tobytes()
            assert answer["actions"].shape == (1, 2)
            assert set(answer["server_timing"]) - {"prev_total_ms"} == {
                "infer_ms", "queue_ms", "total_ms"}  # fmt: skip
            assert ("prev_total_ms" in answer["server_timing"]) == (k > 0)


def test_a_connection_is_a_reset(server: Served) -> None:
    from policy_runner.backends.remote.client.openpi_client import OpenpiClient

    found = []
    for _ in range(2):
        client = OpenpiClient(server.address())
        client.connect()
        inputs = observation(signals(20), 0)
        found.append([client.infer(inputs, 10.0)["actions"].tobytes() for _ in range(3)])
        client.close()
    assert found[0] == found[1]
    assert len(set(found[0])) == 3


def test_several_simulators_on_one_connection(server: Served) -> None:
    with raw(server, "/?batch=2") as one:
        assert unpacked(one.recv())["batch"] == 2
        rows = [observation(signals(20), k) for k in (0, 1)]
        joined = {key: np.stack([row[key] for row in rows]) for key in rows[0] if "name" not in key}
        one.send(packed({**joined, "joints/name": rows[0]["joints/name"]}))
        assert unpacked(one.recv())["actions"].shape == (2, 2)


def test_the_models_own_tensors(server: Served) -> None:
    from policy_runner.backends.remote.client.openpi_client import OpenpiClient

    client = OpenpiClient(server.address("/tensors"))
    assert client.connect()["tensors"] == {"obs": [1, 13]}
    given = np.ones((1, 13), np.float32)
    tensors = server.policy.tensors
    assert tensors is not None
    found = client.infer({"obs": given}, 10.0)["actions"]
    assert found.tobytes() == tensors.run({"obs": given})["actions"].tobytes()
    client.close()


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("a text", "binary frame"),
        (b"\xc1", "reserved byte"),
        (b"", "too early"),
        (packed({"imo/a": 1.0}) if find_spec("msgpack") else b"", "did you mean 'imu'"),
        (packed({"imu/angular_velocity": "x"}) if find_spec("msgpack") else b"", "numbers"),
    ],
)  # fmt: skip
def test_an_error_is_a_text_frame_and_close_1011(
    server: Served, message: bytes | str, word: str
) -> None:
    from websockets.exceptions import ConnectionClosed

    with raw(server) as one:
        one.recv()
        one.send(message)
        assert word in one.recv()
        with pytest.raises(ConnectionClosed) as closed:
            one.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011


@pytest.mark.parametrize("path", ["/?batch=0", "/?batch=x", "/?batch=99999", "/?batch=%C2%B2"])
def test_a_wrong_address_is_an_error(server: Served, path: str) -> None:
    with raw(server, path) as one:
        assert "batch" in one.recv()


def test_a_message_beyond_the_limit_ends_its_connection_only(policy: Path) -> None:
    from websockets.exceptions import ConnectionClosed

    from policy_runner.backends.remote.protocols.bounds import WireLimits

    with served(policy, limits=WireLimits(most_bytes=10_000)) as server, raw(server) as other:
        other.recv()
        with raw(server) as one:
            one.recv()
            one.send(b"x" * 20_000)
            with pytest.raises(ConnectionClosed):
                one.recv()
        other.send(packed(observation(signals(20), 0)))
        assert unpacked(other.recv())["decision"] == "RUN"


def test_a_client_that_stops_reading_stops_no_other(server: Served) -> None:
    deaf = socket.create_connection(("127.0.0.1", server.port))
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    handshake = (
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    deaf.sendall(handshake.encode())
    body = packed({**observation(signals(20), 0), "details": True})
    frame = bytes((0x82, 0x80 | 126)) + len(body).to_bytes(2, "big") + bytes(4) + body
    deaf.settimeout(0.3)

    def flood() -> None:
        sent, requests = 0, memoryview(frame * 100)
        while sent < 100 << 20:
            sent += deaf.send(requests[sent % len(requests) :])

    with pytest.raises(TimeoutError):  # the server takes no more, since its answers are not read
        flood()
    with raw(server) as one:
        one.recv()
        for k in range(10):
            one.send(packed(observation(signals(20), k)))
            assert unpacked(one.recv(timeout=10.0))["decision"] == "RUN"
    deaf.close()


def test_overload_is_a_text_frame_and_close_1013(policy: Path) -> None:
    from websockets.exceptions import ConnectionClosed

    from policy_runner.serving.server.serve_settings import Bounds

    bounds = Bounds(wait_s=0.2)
    with served(policy, bounds=bounds) as server, raw(server) as first, raw(server) as second:
        first.recv()
        second.recv()
        with server.held():
            first.send(packed(observation(signals(20), 0)))
            while not server.offer.turns.busy:
                time.sleep(0.005)
            second.send(packed(observation(signals(20), 0)))
            assert "not free within 0.2 s" in second.recv(timeout=20.0)
            with pytest.raises(ConnectionClosed) as closed:
                second.recv(timeout=20.0)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013
        answer = unpacked(first.recv(timeout=20.0))
        assert answer["server_timing"]["infer_ms"] > 150.0


def test_connections_leave_no_objects(policy: Path) -> None:
    """`make test-serving` opens a thousand, and looks at the memory of the process."""
    from policy_runner.backends.remote.client.openpi_client import OpenpiClient
    from policy_runner.serving.server.serve_settings import Bounds

    inputs = observation(signals(20), 0)

    def connect(times: int) -> Counter[str]:
        for k in range(times):
            client = OpenpiClient(server.address())
            client.connect()
            if k % 10 == 0:
                client.infer(inputs, 10.0)
            client.close()
        until = time.monotonic() + 20.0
        while server.connections and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.1)
        gc.collect()
        return Counter(type(one).__name__ for one in gc.get_objects())

    with served(policy, bounds=Bounds(most_new_per_s=0.0)) as server:
        before = connect(20)
        grown = connect(100) - before
    assert not {"PolicySession", "Pipeline", "OpenpiConnection", "Task"} & grown.keys()
    assert sum(grown.values()) < 200, grown.most_common(9)


def test_eight_clients_at_once_get_what_each_would_get_alone(server: Served) -> None:
    from policy_runner.backends.remote.client.openpi_client import OpenpiClient

    def wanted(first: int) -> list[bytes]:
        session = server.policy.session()
        return [session.answer(observation(signals(20), (first + k) % 20))[0]["actions"].tobytes()
                for k in range(20)]  # fmt: skip

    expected = [wanted(k) for k in range(8)]
    found: dict[int, list[bytes]] = {}

    def run(first: int) -> None:
        client = OpenpiClient(server.address())
        client.connect()
        found[first] = [
            client.infer(observation(signals(20), (first + k) % 20), 20.0)["actions"].tobytes()
            for k in range(20)
        ]
        client.close()

    threads = [threading.Thread(target=run, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert [found.get(k) for k in range(8)] == expected
