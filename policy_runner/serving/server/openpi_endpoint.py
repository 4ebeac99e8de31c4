"""openpi's protocol on a websocket: metadata first, then one answer for each request.

Its client runs unchanged. A new connection is a reset. Addresses:
    ws://HOST:PORT             inputs by key, the whole pipeline; `?batch=N`: N simulators
    ws://HOST:PORT/tensors     the model's own tensors by name, without terms and state
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, MutableMapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import numpy as np

from policy_runner.backends.remote.protocols.bounds import MalformedMessage
from policy_runner.backends.remote.protocols.openpi_messages import decode_map, encode
from policy_runner.core.errors import Refusal, refuse
from policy_runner.serving.server.offer import DIRECT, Direct, Offer
from policy_runner.serving.server.trust import Rate
from policy_runner.serving.server.turns import Overloaded

TENSORS = "/tensors"
_FAILED, _TRY_LATER = 1011, 1013  # RFC 6455 and IANA's registry of close codes
_CLOSE_REASON = "Internal server error. Traceback included in previous frame."  # openpi's words
Scope = MutableMapping[str, Any]


class OpenpiConnection:
    """One connection; `run` serves it until it ends."""

    def __init__(self, offer: Offer, scope: Scope, receive: Any, send: Any) -> None:
        """Take the parts of an ASGI connection.

        Args:
            offer: the policy and what its connections share.
            scope: of ASGI, with type websocket.
            receive: of ASGI.
            send: of ASGI.
        """
        self._offer = offer
        self._receive, self._send = receive, send
        self._rate = Rate(offer.settings.bounds.most_requests_per_s, time.monotonic)
        self._path = str(scope["path"])
        self._query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        self._direct: Direct | None = scope.get("state", {}).get(DIRECT)
        self._previous_ms: float | None = None

    async def run(self) -> None:
        """Accept, send the metadata, and answer until the client leaves or fails."""
        event = await self._receive()
        if event["type"] != "websocket.connect":
            return
        await self._send({"type": "websocket.accept"})
        try:
            answer, metadata = self._opened()
            await self._bytes(encode(metadata))
            if self._direct is not None:
                self._direct.answer = partial(self._at_once, answer)
            while await self._one(answer):
                pass
        except (Refusal, MalformedMessage, Overloaded) as error:
            await self._fail(error)
        except OSError:  # the client left while its answer was sent
            return
        finally:
            if self._direct is not None:
                self._direct.answer = None  # no circle of references: memory is free at once

    def _opened(self) -> tuple[Any, Mapping[str, Any]]:
        """The function that answers, and the metadata."""
        policy = self._offer.policy
        if self._path.rstrip("/") == TENSORS:
            tensors = policy.tensors
            if tensors is None:
                expected = "a policy of one model"
                raise refuse("", TENSORS, expected, "several models", f"leave {TENSORS} out")
            kinds = {name: list(one.shape) for name, one in tensors.inputs.items()}
            metadata = {**policy.metadata, "tensors": kinds}
            del metadata["controls"]  # all keys are tensors here
            return self._run_tensors, metadata
        rows = self._query.get("batch")
        if rows is None:
            return policy.session().answer, policy.metadata
        if not (rows[0].isascii() and rows[0].isdigit() and len(rows[0]) <= 6):
            raise refuse("", "batch", "a number of simulators", f"'{rows[0][:20]}'")
        group = policy.group(int(rows[0]))
        return group.answer, {**policy.metadata, "batch": int(rows[0])}

    def _run_tensors(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        tensors = self._offer.policy.tensors
        assert tensors is not None
        arrays = {name: np.asarray(value) for name, value in given.items()}
        began = time.perf_counter_ns()
        found = tensors.run(arrays)
        return found, time.perf_counter_ns() - began

    async def _one(self, answer: Any) -> bool:
        """Answer one request; return False when the client left."""
        event = await self._receive()
        if event["type"] != "websocket.receive":
            return False
        began = time.perf_counter_ns()
        data = event.get("bytes")
        if data is None:
            raise MalformedMessage("a text frame; expected a binary frame with msgpack")
        pause = self._rate.wait_s()
        while pause:
            await asyncio.sleep(pause)
            pause = self._rate.wait_s()
        given = decode_map(data, self._offer.settings.limits)
        (fields, inference_ns), waited = await self._offer.turns.take(lambda: answer(given))
        await self._bytes(self._encoded(fields, inference_ns, waited, began))
        self._previous_ms = (time.perf_counter_ns() - began) / 1e6
        # Requests that wait in a queue are taken without a pause: let other connections run first.
        await asyncio.sleep(0)
        return True

    def _at_once(self, answer: Any, data: bytes) -> bytes | None:
        """Answer a message without waiting; None: `_one` does it, and reports its faults."""
        began = time.perf_counter_ns()
        if not self._offer.turns.at_once or self._rate.wait_s():
            return None
        try:
            given = decode_map(data, self._offer.settings.limits)
            fields, inference_ns = answer(given)
        except (Refusal, MalformedMessage):
            return None
        found = self._encoded(fields, inference_ns, 0, began)
        self._previous_ms = (time.perf_counter_ns() - began) / 1e6
        return found

    def _encoded(
        self, fields: dict[str, Any], inference_ns: int, waited_ns: int, began_ns: int
    ) -> bytes:
        """The bytes of an answer with its timing."""
        timing = {
            "infer_ms": inference_ns / 1e6,
            "queue_ms": waited_ns / 1e6,
            "total_ms": (time.perf_counter_ns() - began_ns) / 1e6,
        }
        if self._previous_ms is not None:
            timing["prev_total_ms"] = self._previous_ms
        fields["policy_timing"] = {"infer_ms": inference_ns / 1e6}
        fields["server_timing"] = timing
        return encode(fields)

    async def _bytes(self, data: bytes) -> None:
        await self._send({"type": "websocket.send", "bytes": data})

    async def _fail(self, error: Exception) -> None:
        """Send the sentence as a text frame, then close, as openpi's server does."""
        code = _TRY_LATER if isinstance(error, Overloaded) else _FAILED
        self._offer.note(error)
        try:
            await self._send({"type": "websocket.send", "text": str(error)})
            reason = str(error)[:120] if code == _TRY_LATER else _CLOSE_REASON
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except OSError:  # the client left first
            return
