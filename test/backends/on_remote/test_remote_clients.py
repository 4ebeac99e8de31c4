"""Clients against servers that fail: each fault is a named error within the deadline."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from policy_runner.backends.remote.client.interface import (
    Garbled,
    RemoteError,
    ServerAddress,
    ServerRefused,
    TooLate,
    Unreachable,
)
from policy_runner.backends.remote.client.open_client import Backoff, SteadyClient
from policy_runner.backends.remote.client.v2_client import V2Client
from policy_runner.backends.remote.protocols.bounds import WireLimits
from policy_runner.backends.remote.protocols.v2_messages import (
    InferRequest,
    decode_request,
    encode_answer,
)
from policy_runner.backends.remote.remote_model import RemoteModel

with_websockets = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("websockets", "msgpack")), reason="no extra [remote]"
)
GIVEN = {"obs": np.ones((1, 2), np.float32)}
DEADLINE_S = 0.5
LIMITS = WireLimits(most_bytes=100_000)


@contextmanager
def speaking(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on loopback that passes each connection to `talk`; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(10.0)
                    try:
                        talk(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10.0)


def take_request(connection: socket.socket) -> tuple[bytes, bytes]:
    """One request of HTTP: head and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionResetError
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    sizes = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    size = int(sizes[0].split(b":")[1]) if sizes else 0
    while len(body) < size:
        body += connection.recv(65536)
    return head, body


def answer_http(body: bytes, status: str = "200 OK", json_length: int | None = None) -> bytes:
    extra = "" if json_length is None else f"Inference-Header-Content-Length: {json_length}\r\n"
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def good_answer(number: str) -> bytes:
    outputs = {"actions": np.zeros((1, 2), np.float32)}
    body, length = encode_answer(outputs, InferRequest({}, {}, True, number), "m")
    return answer_http(body, json_length=length)


def v2_server(answers: Callable[[socket.socket, int], None]) -> Callable[[socket.socket], None]:
    """Answer `ready` and the metadata; `answers` gets each inference with its number."""

    def talk(connection: socket.socket) -> None:
        while True:
            head, body = take_request(connection)
            if head.startswith(b"POST"):
                number = int(body.split(b'"id":"')[1].split(b'"')[0])
                answers(connection, number)
            else:
                connection.sendall(answer_http(b"{}"))

    return talk


def v2_client(port: int) -> V2Client:
    return V2Client(ServerAddress(f"http://127.0.0.1:{port}/v2/models/m", limits=LIMITS))


@pytest.mark.parametrize(
    ("answer", "kind", "word"),
    [
        (b"", Unreachable, "closed the connection"),
        (b"garbage\r\n\r\n", Garbled, "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", Garbled, "1000000000 bytes"),
        (answer_http(b"x" * 50)[:-10], Unreachable, "too early"),
        (answer_http(b"{}", json_length=99), Garbled, "larger than the body"),
        (answer_http(b"not json"), Garbled, "not JSON"),
        (answer_http(b"{}", "503 Busy"), ServerRefused, "overloaded, try again later"),
        (answer_http(b'{"error": "no shape"}', "400 Bad"), ServerRefused, "no shape"),
        (answer_http(b"\xff\xfe", "500 Oh"), ServerRefused, "look at the server's log"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Garbled, "HTTP"),
        (good_answer("999"), Garbled, "answer to request 999, expected 1"),
    ],
)
def test_a_bad_answer_of_protocol_v2(answer: bytes, kind: type[RemoteError], word: str) -> None:
    def bad(connection: socket.socket, _number: int) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)

    with speaking(v2_server(bad)) as port:
        client = v2_client(port)
        client.connect()
        with pytest.raises(kind, match=word):
            client.infer(GIVEN, 10.0)
        with pytest.raises(Unreachable, match=r"call connect\(\) first"):
            client.infer(GIVEN, 10.0)


def test_a_model_asks_for_its_outputs_only() -> None:
    """A server's further outputs may be large, or of types that no policy reads."""
    asked: list[dict[str, bool]] = []

    def talk(connection: socket.socket) -> None:
        while True:
            head, body = take_request(connection)
            if not head.startswith(b"POST"):
                connection.sendall(answer_http(b"{}"))
                continue
            size = head.lower().split(b"inference-header-content-length: ")[1].split(b"\r\n")[0]
            asked.append(dict(decode_request(body, size.decode()).outputs))
            connection.sendall(good_answer("1"))

    actions = np.ones((1, 2), np.float32)
    with speaking(talk) as port:
        address = ServerAddress(f"http://127.0.0.1:{port}/v2/models/m", limits=LIMITS)
        model = RemoteModel(address, dict(GIVEN), {"actions": actions})
        model.run()
        model.close()
    assert asked == [{"actions": True}]
    np.testing.assert_array_equal(actions, 0.0)


@pytest.mark.parametrize("pieces", [0, 1])
def test_a_server_that_hangs_or_trickles_is_too_late(pieces: int) -> None:
    """Bytes that still arrive do not prolong the deadline."""

    def slow(connection: socket.socket, _number: int) -> None:
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            connection.sendall(b"H" * pieces)
            time.sleep(0.05)

    with speaking(v2_server(slow)) as port:
        client = v2_client(port)
        client.connect()
        with pytest.raises(TooLate, match=r"within 0\.5 s"):
            client.infer(GIVEN, DEADLINE_S)


def test_a_late_answer_is_lost_with_its_connection() -> None:
    def jitter(connection: socket.socket, number: int) -> None:
        if state["late"]:
            state["late"] = False
            time.sleep(1.0)
        connection.sendall(good_answer(str(number)))

    state = {"late": True}
    with speaking(v2_server(jitter)) as port:
        client = SteadyClient(v2_client(port), Backoff(first_s=0.01))
        with pytest.raises(TooLate):
            client.infer(GIVEN, DEADLINE_S)
        time.sleep(0.02)
        assert client.infer(GIVEN, 10.0)["actions"].shape == (1, 2)
        assert (client.connections, client.failures) == (2, 0)
        client.close()


def test_no_server_and_a_name_without_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match="start the server"):
        v2_client(port).connect()
    with pytest.raises(Unreachable, match="correct the address"):
        V2Client(ServerAddress("http://no-such-host.invalid:1/v2/models/m")).connect()


def test_a_server_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v2/models/m"
        with pytest.raises(TooLate, match=r"within 0\.2 s"):
            V2Client(ServerAddress(url, connect_s=0.2)).connect()


# --- openpi ---


def websocket_server(after: Callable[[Any], None], metadata: Mapping[str, Any]) -> Any:
    """A server of the websocket library; `after` gets the connection after the first request."""
    import msgpack
    from websockets.sync.server import serve

    def talk(connection: Any) -> None:
        connection.send(msgpack.packb(metadata))
        connection.recv()
        after(connection)

    return serve(talk, "127.0.0.1", 0, compression=None)


@contextmanager
def openpi(
    after: Callable[[Any], None], metadata: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[Any]:
    """A connected client of such a server."""
    from policy_runner.backends.remote.client.openpi_client import OpenpiClient

    with websocket_server(after, dict(metadata)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        port = server.socket.getsockname()[1]
        client = OpenpiClient(ServerAddress(f"ws://127.0.0.1:{port}", limits=LIMITS))
        client.connect()
        yield client
        client.close()
        server.shutdown()
    thread.join(10.0)


@with_websockets
@pytest.mark.parametrize(
    ("after", "kind", "word"),
    [
        (lambda one: one.send("Traceback:\n  no\x1b[31m key"), ServerRefused, "Traceback: no"),
        (lambda one: one.send(b"\xc1"), Garbled, "is it an openpi server"),
        (lambda one: one.send(b"\x90"), Garbled, "not a map"),
        (lambda one: one.send(b"\x80" * 200_000), (Garbled, Unreachable), "127"),
        (lambda one: one.close(1013, "full"), Unreachable, "1013 full"),
        (lambda one: one.socket.shutdown(socket.SHUT_RDWR), Unreachable, "log"),
        (lambda one: one.socket.sendall(b"\x82\x7e\x10\x00half"), TooLate, "within"),
        (
            lambda one: one.socket.sendall(b"\x82\x7f\0\0\0\0\x40\0\0\0"),
            (Garbled, Unreachable),
            "127",
        ),
        (lambda one: one.socket.sendall(b"\xff\xff\xff\xff"), (Garbled, Unreachable), "127"),
        (lambda one: None, TooLate, r"within 0\.5 s"),
    ],
    ids=["text", "bytes", "list", "large", "closed", "lost", "half", "gigabyte", "frame", "hangs"],
)
def test_a_bad_answer_of_openpi(after: Any, kind: Any, word: str) -> None:
    def and_wait(connection: Any) -> None:
        after(connection)
        done.wait(20.0)

    done = threading.Event()
    with openpi(and_wait) as client:
        with pytest.raises(kind, match=word) as error:
            client.infer(GIVEN, DEADLINE_S if kind is TooLate else 20.0)
        done.set()
        assert str(error.value).isprintable()
        with pytest.raises(Unreachable, match="connect"):
            client.infer(GIVEN, DEADLINE_S)


@with_websockets
def test_an_answer_without_request_is_dropped() -> None:
    import msgpack

    from policy_runner.backends.remote.protocols.openpi_messages import encode

    def twice(connection: Any) -> None:
        for value in (1.0, 2.0):
            connection.send(encode({"actions": np.full(1, value)}))
        sent.set()
        msgpack.unpackb(connection.recv())
        connection.send(encode({"actions": np.full(1, 3.0)}))
        time.sleep(0.2)

    sent = threading.Event()
    with openpi(twice) as client:
        assert client.infer(GIVEN, 10.0)["actions"].tolist() == [1.0]
        assert sent.wait(10.0)
        time.sleep(0.1)
        assert client.infer(GIVEN, 10.0)["actions"].tolist() == [3.0]
        assert client.dropped == 1


@with_websockets
@pytest.mark.parametrize("controls", [5, "id", ["id"], {"id": "repeated"}])
def test_only_the_number_of_the_request_is_its_id(controls: Any) -> None:
    """Servers of others may tell and answer anything."""
    from policy_runner.backends.remote.protocols.openpi_messages import encode

    def answers(connection: Any) -> None:
        for given in (np.ones(2), [1], "1", True, 1):
            connection.send(encode({"actions": np.ones(1), "id": given}))

    with openpi(answers, {"controls": controls}) as client:
        client.infer(GIVEN, 10.0)
        assert client.dropped == (4 if isinstance(controls, dict) else 0)


@with_websockets
def test_a_message_in_many_empty_frames_takes_no_quadratic_time() -> None:
    """Its frames arrive together, and the deadline is only looked at before more bytes."""
    frames = b"\x02\x00" + b"\x00\x00" * 60_000 + b"\x80\x01\x80"
    with openpi(lambda one: one.socket.sendall(frames)) as client:
        assert client.infer(GIVEN, 10.0) == {}


@with_websockets
def test_a_server_of_http_is_no_server_of_openpi() -> None:
    def talk(connection: socket.socket) -> None:
        take_request(connection)
        connection.sendall(answer_http(b"hello"))

    from policy_runner.backends.remote.client.openpi_client import OpenpiClient

    with speaking(talk) as port, pytest.raises(ServerRefused, match="status 200"):
        OpenpiClient(ServerAddress(f"ws://127.0.0.1:{port}")).connect()


# --- reconnection ---


class Scripted:
    """A client whose calls succeed or fail as a list says."""

    def __init__(self, *results: bool) -> None:
        self.results = list(results)
        self.closed = 0

    def _next(self) -> Any:
        if not self.results.pop(0):
            raise Unreachable("no server; start it")
        return {}

    def connect(self) -> Any:
        return self._next()

    def infer(self, _inputs: Any, _deadline_s: float) -> Any:
        return self._next()

    def close(self) -> None:
        self.closed += 1


def test_pauses_grow_and_end_with_an_answer() -> None:
    now = [0.0]
    script = Scripted(False, False, False, True, True, True, False)
    client = SteadyClient(script, Backoff(1.0, 3.0, jitter=0.5), lambda: now[0], lambda: 0.0)
    pauses = []
    for _ in range(3):
        with pytest.raises(Unreachable, match="start it"):
            client.infer({}, 1.0)
        with pytest.raises(Unreachable, match=r"start it; the next try is in"):
            client.infer({}, 1.0)
        begun = now[0]
        while client._next_s is not None and now[0] < client._next_s:
            now[0] += 0.5
        pauses.append(now[0] - begun)
    assert pauses == [1.0, 2.0, 3.0]
    client.infer({}, 1.0)
    assert (client.failures, client.connections) == (0, 1)
    client.infer({}, 1.0)
    with pytest.raises(Unreachable):
        client.infer({}, 1.0)
    assert client.failures == 1
    assert script.closed == 4


def test_jitter_shortens_a_pause_only() -> None:
    backoff = Backoff(first_s=1.0, most_s=8.0, jitter=0.2)
    assert backoff.pause_s(1, 0.0) == 1.0
    assert backoff.pause_s(1, 1.0) == pytest.approx(0.8)
    assert backoff.pause_s(10_000, 0.0) == 8.0


def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a robot that has lost its network."""
    asked = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [asked.wait(20.0)])
    address = ServerAddress("http://gpu.example:1/v2/models/m", connect_s=0.2)
    begun_s = time.monotonic()
    with pytest.raises(Unreachable, match=r"gpu\.example:1: no connection within 0\.2 s"):
        V2Client(address).connect()
    assert time.monotonic() - begun_s < 5.0
    asked.set()


def test_the_second_address_of_a_host_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with speaking(v2_server(lambda connection, _: connection.close())) as port:
        inet, stream = socket.AF_INET, socket.SOCK_STREAM
        places = [(inet, stream, 6, "", ("127.0.0.1", p)) for p in (1, port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
        client = v2_client(port)
        assert client.connect() == {}
        client.close()
