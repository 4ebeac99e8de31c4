"""Connections of uvicorn with bounds: their number, their rate, and the time of a request."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from policy_runner.serving.server.offer import HttpConnection
from policy_runner.serving.server.serve_settings import Bounds
from policy_runner.serving.server.trust import Rate

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-type: application/json\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%s"
)


def bounded_protocol(bounds: Bounds) -> type[HttpToolsProtocol]:
    """Return the class of a worker's connections.

    Args:
        bounds: of the worker.
    """
    new = Rate(bounds.most_new_per_s, time.monotonic)

    class BoundedProtocol(HttpToolsProtocol):
        """A connection of HTTP with a state of its own; a websocket begins as one."""

        _late: asyncio.TimerHandle | None = None
        _mine: HttpConnection | None = None

        def connection_made(self, transport: Any) -> None:
            """Refuse the connection if there are too many; otherwise expect a request soon."""
            super().connection_made(transport)
            if len(self.connections) > bounds.most_connections or new.wait_s():
                text = b'{"error": "too many connections; try again later"}'
                transport.write(_FULL % (len(text), text))
                transport.close()
                return
            self._mine = HttpConnection(bounds.most_requests_per_s)
            # uvicorn copies this into the scope of each request of the connection.
            self.app_state: dict[str, Any] = {**self.app_state, "connection": self._mine}
            self._expect()

        def connection_lost(self, exc: Exception | None) -> None:
            """Forget the connection's session."""
            self._in_time()
            if self._mine is not None:
                self._mine.close()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            """Expect the rest of a request soon."""
            super().on_message_begin()
            if self._late is None:
                self._expect()

        def on_message_complete(self) -> None:
            """A request has arrived in time; also the one that becomes a websocket."""
            self._in_time()
            super().on_message_complete()

        def data_received(self, data: bytes) -> None:
            """Ignore what follows a refusal."""
            if self._mine is not None:
                super().data_received(data)

        def _expect(self) -> None:
            self._late = self.loop.call_later(bounds.request_s, self.transport.close)

        def _in_time(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

    return BoundedProtocol
