"""The first thing that sees a request: trust and size, before any route."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import HTTPException

from policy_runner.backends.remote.tokens import allows
from policy_runner.serving.server.offer import Offer
from policy_runner.serving.server.openpi_endpoint import OpenpiConnection
from policy_runner.serving.server.trust import foreign_page

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
# These say only that the server is there. A balancer asks them without a token.
OPEN_PATHS = frozenset({"/healthz", "/v2/health/live", "/v2/health/ready"})


class Guard:
    """An ASGI application: refuses, or passes on to openpi's endpoint or to the routes of HTTP."""

    def __init__(self, offer: Offer, routes: Any) -> None:
        """Join the endpoints.

        Args:
            offer: shared by all endpoints.
            routes: the ASGI application of HTTP.
        """
        self._offer = offer
        self._routes = routes
        self._token = offer.settings.token
        self._loopback = offer.settings.loopback
        self._most = offer.settings.limits.most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of HTTP, or one websocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._routes(scope, receive, send)
            return
        headers = dict(scope["headers"])
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            status, text = refusal
            self._offer.note(text, f"status {status}")
            await _answer(scope, receive, send, status, text)
        elif scope["type"] == "websocket":
            await OpenpiConnection(self._offer, scope, receive, send).run()
        else:
            await self._pass_on(scope, receive, send)

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """The status and the sentence of a refusal; None: the request is served."""
        page = foreign_page(headers.items(), self._loopback)
        if page:
            return 403, page
        if scope["path"] not in OPEN_PATHS and not allows(
            self._token, headers.get(b"authorization")
        ):
            return 401, "no or another token; send `Authorization: Bearer TOKEN`"
        if scope["type"] == "websocket":
            return None
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            return 415, "a compressed body; send it uncompressed"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 15:
            return 400, "a header Content-Length that is not a number"
        if int(length) > self._most:
            return 413, f"a body of more than {self._most} bytes (--max-message-bytes)"
        connection = scope.get("state", {}).get("connection")
        if connection is not None and connection.rate.wait_s():
            return 429, "more requests per second than one connection may send"
        return None

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve HTTP. A body in chunks, without stated length, ends at the bound, too."""
        taken = 0

        async def counted() -> Any:
            nonlocal taken
            event = await receive()
            taken += len(event.get("body", b""))
            if taken > self._most:
                self._offer.note("a body in chunks that is too large", "status 413")
                text = f"a body of more than {self._most} bytes (--max-message-bytes)"
                raise HTTPException(413, text, {"Connection": "close"})
            return event

        await self._routes(scope, counted, send)


async def _answer(scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
    """Answer with a status instead of serving; the connection is closed."""
    body = json.dumps({"error": text}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    prefix = "http"
    if scope["type"] == "websocket":
        await receive()
        prefix = "websocket.http"
    await send({"type": f"{prefix}.response.start", "status": status, "headers": headers})
    await send({"type": f"{prefix}.response.body", "body": body})
