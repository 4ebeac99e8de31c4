"""A client of openpi's protocol with deadlines; see `protocols.openpi_messages`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from policy_runner.backends.remote.client.deadline import Deadline, DeadlineSocket
from policy_runner.backends.remote.client.interface import (
    Arrays,
    Garbled,
    Given,
    ServerAddress,
    ServerRefused,
    Unreachable,
)
from policy_runner.backends.remote.protocols.bounds import MalformedMessage, shown
from policy_runner.backends.remote.protocols.openpi_messages import decode_map, encode

_LONGEST_TEXT = 2000  # of a server's error that is shown
_ID = "id"


class OpenpiClient:
    """See `interface.InferenceClient`. One answer per request, and no request before its answer.

    Attributes:
        dropped: answers that arrived without a request, and were dropped.
        told: see `interface.InferenceClient`.
    """

    def __init__(self, address: ServerAddress) -> None:
        """Keep the address; nothing is sent yet.

        Args:
            address: with the scheme ws or wss.
        """
        self._address = address
        self._socket: DeadlineSocket | None = None
        self._protocol: Any = None
        self._events: Iterator[Any] = iter(())
        self._parts: list[bytes] = []
        self._size = 0  # of the parts [bytes]
        self._text = False
        self._sends_id = False
        self._count = 0
        self.dropped = 0
        self.told: Mapping[str, Any] = {}

    def connect(self) -> Mapping[str, Any]:
        """See `InferenceClient.connect`; return openpi's metadata."""
        self.close()
        try:
            self._socket = DeadlineSocket(self._address)
            self._protocol = ClientProtocol(
                parse_uri(self._address.url), max_size=self._address.limits.most_bytes
            )
            request = self._protocol.connect()
            if self._address.token:
                request.headers["Authorization"] = f"Api-Key {self._address.token}"
            self._protocol.send_request(request)
            self._flush()
            self._handshake()
            metadata = self._decoded(self._message())
        except BaseException:
            self.close()
            raise
        # Servers of this project repeat an `id`; others may not know the key.
        controls = metadata.get("controls")
        self._sends_id = isinstance(controls, dict) and _ID in controls
        return metadata

    def infer(self, inputs: Given, deadline_s: float) -> Arrays:
        """See `InferenceClient.infer`; arrays of the answer only, by key."""
        answer = self.ask(inputs, deadline_s)
        found = {key: value for key, value in answer.items() if isinstance(value, np.ndarray)}
        self.told = {key: value for key, value in answer.items() if key not in found}
        return found

    def ask(self, given: Mapping[str, Any], deadline_s: float) -> Mapping[str, Any]:
        """Return the whole answer, with its texts and timing; see `infer`."""
        if self._socket is None:
            raise Unreachable(f"{self._address.host}: not connected; call connect() first")
        try:
            self._socket.deadline = Deadline(deadline_s)
            self._drop_waiting()
            self._count += 1
            extra = {_ID: self._count} if self._sends_id else {}
            self._protocol.send_binary(encode({**given, **extra}))
            self._flush()
            while True:
                answer = self._decoded(self._message())
                given_id = answer.get(_ID)
                if not extra or (type(given_id) is int and given_id == self._count):
                    return answer
                self.dropped += 1
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """See `InferenceClient.close`."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._protocol = None, None
        self._events, self._parts = iter(()), []

    def _handshake(self) -> None:
        while self._protocol.state is State.CONNECTING:
            event = self._event()
            failed = self._protocol.handshake_exc
            if failed is None:
                continue
            status = event.status_code if isinstance(event, Response) else None
            where = f"{self._address.host}:{self._address.port}"
            hint = {401: "send the right token", 503: "it is full, try again later"}
            what = hint.get(status or 0, "is it a server of openpi's protocol?")
            if status is not None or isinstance(failed, InvalidHandshake):
                raise ServerRefused(f"{where}: no websocket (status {status}); {what}")
            raise Garbled(f"{where}: {shown(failed)}; {what}")

    def _flush(self) -> None:
        assert self._socket is not None
        for data in self._protocol.data_to_send():
            if data:
                self._socket.send(data)

    def _event(self) -> Any:
        """The next event of the protocol."""
        assert self._socket is not None
        while True:
            event = next(self._events, None)
            if event is not None:
                return event
            self._feed(self._socket.receive())
            self._events = iter(self._protocol.events_received())
            if self._protocol.state is State.CLOSED and not self._protocol.handshake_exc:
                raise Unreachable(f"{self._address.host}: {self._closed()}")
            if self._protocol.handshake_exc:
                return next(self._events, None)

    def _feed(self, data: bytes) -> None:
        if not data:
            self._protocol.receive_eof()
            if self._protocol.state is not State.CONNECTING:
                raise Unreachable(f"{self._address.host}: {self._closed()}")
        else:
            self._protocol.receive_data(data)
        if self._protocol.parser_exc is not None and not self._protocol.handshake_exc:
            raise Garbled(f"{self._address.host}: {shown(self._protocol.parser_exc)}; closed")
        self._flush()  # pongs

    def _closed(self) -> str:
        close = self._protocol.close_rcvd
        if close is None:
            return "the connection was lost; look at the server's log"
        return f"the server closed the connection ({close.code} {shown(close.reason)})"

    def _message(self) -> bytes | str:
        """The next whole message."""
        while True:
            event = self._event()
            if isinstance(event, Frame):
                found = self._take(event)
                if found is not None:
                    return found

    def _take(self, frame: Frame) -> bytes | str | None:
        """Add a frame; return the message if it is complete."""
        if frame.opcode is Opcode.CLOSE:
            raise Unreachable(f"{self._address.host}: {self._closed()}")
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return None
        if frame.opcode is not Opcode.CONT:
            self._parts, self._size, self._text = [], 0, frame.opcode is Opcode.TEXT
        self._parts.append(bytes(frame.data))
        self._size += len(frame.data)
        if self._size > self._address.limits.most_bytes:
            raise Garbled(f"{self._address.host}: an answer larger than the limit; closed")
        if not frame.fin:
            return None
        data = b"".join(self._parts)
        self._parts = []
        return data.decode("utf-8", "replace") if self._text else data

    def _decoded(self, message: bytes | str) -> Mapping[str, Any]:
        if isinstance(message, str):
            last = message.strip()[-_LONGEST_TEXT:]
            raise ServerRefused(f"{self._address.host}: the server's error: {shown_lines(last)}")
        try:
            return decode_map(message, self._address.limits)
        except MalformedMessage as error:
            raise Garbled(f"{self._address.host}: {error}; is it an openpi server?") from error

    def _drop_waiting(self) -> None:
        """Drop what arrived without a request, so that it is not taken for this one's answer."""
        assert self._socket is not None
        data = self._socket.waiting()
        while data:
            self._feed(data)
            data = self._socket.waiting()
        events = [*self._events, *self._protocol.events_received()]
        self._events = iter(())
        for event in events:
            if isinstance(event, Frame) and self._take(event) is not None:
                self.dropped += 1
        if self._protocol.state is not State.OPEN:
            raise Unreachable(f"{self._address.host}: {self._closed()}")


def shown_lines(text: str) -> str:
    """A text of several lines as one, without control characters."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
