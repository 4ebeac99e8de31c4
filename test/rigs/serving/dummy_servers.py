"""Servers that know nothing of this project's pipeline: openpi's protocol as its own server has it.

Written from the protocol's description, with `websockets` and `msgpack` alone, so that a fault in
this project's encoder does not hide itself.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

Answer = Callable[[dict[str, Any]], Mapping[str, Any]]


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {
            b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str,
            b"shape": value.shape,
        }  # fmt: skip
    raise TypeError(type(value))


def _unpacked(found: dict[Any, Any]) -> Any:
    if b"__ndarray__" in found:
        kind = np.dtype(found[b"dtype"])
        return np.ndarray(buffer=found[b"data"], dtype=kind, shape=found[b"shape"])
    return found


class OpenpiDummy:
    """A running server.

    Attributes:
        port: on loopback.
        seen: the requests, decoded.
        tokens: header `Authorization` of each connection.
    """

    def __init__(self, answer: Answer, port: int = 0) -> None:
        """Start it in a thread.

        Args:
            answer: of one request.
            port: 0 is any free one.
        """
        import msgpack
        from websockets.exceptions import ConnectionClosed
        from websockets.sync.server import ServerConnection, serve

        self.seen: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []

        def talk(connection: ServerConnection) -> None:
            assert connection.request is not None
            self.tokens.append(connection.request.headers.get("Authorization"))
            with contextlib.suppress(ConnectionClosed):
                connection.send(msgpack.packb({}))
                for message in connection:
                    given = msgpack.unpackb(message, object_hook=_unpacked)
                    self.seen.append(given)
                    begun = time.perf_counter()
                    found = dict(answer(given))
                    found["server_timing"] = {"infer_ms": 1e3 * (time.perf_counter() - begun)}
                    connection.send(msgpack.packb(found, default=_packed))

        # A client that waits for its next request does not answer the closing handshake.
        self._server = serve(
            talk, "127.0.0.1", port, compression=None, max_size=None, close_timeout=0.1
        )
        self.port: int = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"ws://127.0.0.1:{self.port}"

    def close(self) -> None:
        """End it, and every connection."""
        self._server.shutdown()
        self._thread.join(10.0)


@contextlib.contextmanager
def openpi_dummy(answer: Answer, port: int = 0) -> Iterator[OpenpiDummy]:
    """A server of openpi's protocol that answers with this function."""
    server = OpenpiDummy(answer, port)
    try:
        yield server
    finally:
        server.close()
