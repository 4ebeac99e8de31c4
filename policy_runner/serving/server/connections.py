"""Connections of uvicorn with bounds: their number, their rate, and the time of a request.

A websocket answers a fast model from the function that receives its bytes. Through ASGI's queue and
task a round trip takes 80 us longer, half of what openpi's own server takes for all of it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from policy_runner.serving.server.offer import DIRECT, Direct, HttpConnection
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


class DirectProtocol(WebSocketsSansIOProtocol):
    """A websocket that asks `Direct.answer` first, and ASGI's application for everything else."""

    frames: list[bytes]  # of a message that is not complete
    _idle = False  # the application waits for a message
    _fresh = False  # no message of the newest bytes was answered yet

    def __init__(self, **options: Any) -> None:
        self._direct = Direct()
        app_state = {**options.pop("app_state"), DIRECT: self._direct}
        super().__init__(app_state=app_state, **options)

    def data_received(self, data: bytes) -> None:
        """Answer at most one message at once; further ones wait, so that others have their turn."""
        self._fresh = True
        super().data_received(data)

    def send_receive_event_to_app(self) -> None:
        """Answer a whole message, or pass it on."""
        answer = self._direct.answer
        if (
            answer is None
            or not (self._fresh and self._idle and self.queue.empty() and self.writable.is_set())
            or self.curr_msg_data_type != "bytes"
            or self.close_sent
            or len(self.frames) != 1
        ):
            super().send_receive_event_to_app()
            return
        self._fresh = False
        found = answer(self.frames[0])
        if found is None:
            super().send_receive_event_to_app()
            return
        self.frames = []
        self.conn.send_binary(found)
        self.transport.write(b"".join(self.conn.data_to_send()))

    async def receive(self) -> Any:
        """Wait for the next event that was not answered directly."""
        self._idle = True
        try:
            return await super().receive()
        finally:
            self._idle = False
