"""A client of the Open Inference Protocol over HTTP with deadlines; see `protocols.v2_messages`."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

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
from policy_runner.backends.remote.protocols.json_arrays import read_json
from policy_runner.backends.remote.protocols.v2_messages import (
    JSON_LENGTH,
    decode_answer,
    encode_request,
)
from policy_runner.core.errors import refuse

_HINTS = {
    400: "compare the tensors; or the model is not ready",
    401: "send the right token",
    404: "correct the model's name in the address",
    429: "ask less often",
    503: "it is overloaded, try again later",
}


class V2Client:
    """See `interface.InferenceClient`. Servers: Triton, KServe, OpenVINO Model Server, `serve`.

    Attributes:
        told: the parameters of the newest answer; see `interface.InferenceClient`.
    """

    def __init__(self, address: ServerAddress, outputs: Sequence[str] = ()) -> None:
        """Keep the address; nothing is sent yet.

        Args:
            address: `http://HOST:PORT/v2/models/NAME`, or with `/versions/VERSION` after it.
            outputs: the server sends no others; none: all.

        Raises:
            Refusal: the address has no model.
        """
        path = urlsplit(address.url).path.rstrip("/")
        if "/v2/models/" not in f"{path}/" or path.endswith("/models"):
            expected = "http://HOST:PORT/v2/models/NAME"
            raise refuse("", "the server's address", expected, address.url)
        self._address = address
        self._path = path
        self._wanted = tuple(outputs)
        self._socket: DeadlineSocket | None = None
        self._count = 0
        self.told: Mapping[str, Any] = {}

    def connect(self) -> Mapping[str, Any]:
        """See `InferenceClient.connect`; return the model's metadata."""
        self.close()
        try:
            self._socket = DeadlineSocket(self._address)
            status, _, body = self._exchange("GET", f"{self._path}/ready", b"", {})
            self._check(status, body)
            status, _, body = self._exchange("GET", self._path, b"", {})
            self._check(status, body)
            metadata = self._read(body)
        except BaseException:
            self.close()
            raise
        return metadata

    def infer(self, inputs: Given, deadline_s: float) -> Arrays:
        """See `InferenceClient.infer`."""
        found, self.told = self.ask(inputs, deadline_s)
        return found

    def ask(self, inputs: Given, deadline_s: float) -> tuple[Arrays, Mapping[str, Any]]:
        """Return the outputs, and the parameters of the answer; see `infer`."""
        if self._socket is None:
            raise Unreachable(f"{self._address.host}: not connected; call connect() first")
        try:
            self._socket.deadline = Deadline(deadline_s)
            self._count += 1
            body, length = encode_request(inputs, str(self._count), self._wanted)
            headers = {JSON_LENGTH: str(length), "Content-Type": "application/octet-stream"}
            status, json_length, answer = self._exchange(
                "POST", f"{self._path}/infer", body, headers
            )
            self._check(status, answer)
            try:
                found, given, parameters = decode_answer(answer, json_length, self._address.limits)
            except MalformedMessage as error:
                raise Garbled(f"{self._address.host}: {error}") from error
            if given and given != str(self._count):
                text = f"an answer to request {shown(given)}, expected {self._count}"
                raise Garbled(f"{self._address.host}: {text}; the connection is closed")
        except BaseException:
            self.close()
            raise
        return found, parameters

    def close(self) -> None:
        """See `InferenceClient.close`."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, str | None, bytes]:
        """Send a request; return status, the size of the JSON, and the body of the answer."""
        assert self._socket is not None
        address, most = self._address, self._address.limits.most_bytes
        lines = {
            "Host": f"{address.host}:{address.port}",
            "Content-Length": str(len(body)),
            "Accept-Encoding": "identity",
            **headers,
        }
        if address.token:
            lines["Authorization"] = f"Bearer {address.token}"
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._socket.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        # HTTPResponse calls nothing but `makefile`.
        answer = http.client.HTTPResponse(cast(socket.socket, self._socket), method=method)
        try:
            answer.begin()
            if answer.length is not None and answer.length > most:
                raise Garbled(f"{address.host}: an answer of {answer.length} bytes; closed")
            found = answer.read(most + 1)
        except (http.client.HTTPException, ValueError) as error:
            if isinstance(error, http.client.RemoteDisconnected):
                text = "the server closed the connection; look at its log"
                raise Unreachable(f"{address.host}: {text}") from error
            text = f"no HTTP answer ({type(error).__name__})"
            raise Garbled(f"{address.host}: {text}; is it such a server?") from error
        finally:
            answer.close()
        if len(found) > most:
            raise Garbled(f"{address.host}: an answer of more than {most} bytes; closed")
        if answer.length:
            raise Unreachable(f"{address.host}: the answer ended too early")
        return answer.status, answer.headers.get(JSON_LENGTH), found

    def _check(self, status: int, body: bytes) -> None:
        if status == 200:
            return
        hint = _HINTS.get(status, "look at the server's log")
        error: Any = ""
        try:
            parsed = read_json(body, self._address.limits) if body else {}
            error = parsed.get("error", "") if isinstance(parsed, dict) else ""
        except MalformedMessage:
            pass
        text = f"status {status}" + (f", {shown(error)}" if error else "")
        raise ServerRefused(f"{self._address.host}: {text}; {hint}")

    def _read(self, body: bytes) -> Mapping[str, Any]:
        try:
            found = read_json(body, self._address.limits)
        except MalformedMessage as error:
            raise Garbled(f"{self._address.host}: {error}; is it such a server?") from error
        if not isinstance(found, dict):
            raise Garbled(f"{self._address.host}: metadata that are not an object")
        return found
