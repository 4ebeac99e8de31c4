"""A server of both protocols that answers well, or misbehaves as its `mode` says.

Written on sockets, so that it can also send what no library sends: half a frame, a size without
its bytes, the answer of another request.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Answer = Callable[[Mapping[str, Any]], Mapping[str, np.ndarray]]
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
GIGABYTE = 1 << 30
LATE_EVERY = 30
# What a mode does with a request. `good` and `late` use the answer.
MODES = (
    "good", "hangs", "late", "garbage", "shape", "nan", "error", "gigabyte", "half", "other",
)  # fmt: skip


class BadServer:
    """Serves on loopback, in threads.

    Attributes:
        mode: one of MODES; it may change at any time.
        port: of the listener; it stays over `kill` and `start`.
        asked: number of requests so far.
    """

    def __init__(
        self, answer: Answer, metadata: Mapping[str, Any] | None = None, late_s: float = 0.5
    ) -> None:
        """Start to serve.

        Args:
            answer: the outputs for the inputs of a request.
            metadata: of openpi's first message.
            late_s: how late every `LATE_EVERY`th answer is in the mode `late`.
        """
        self.mode = "good"
        self.tls: ssl.SSLContext | None = None
        self.asked = self.port = 0
        self._answer, self._metadata, self._late_s = answer, metadata or {}, late_s
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._ended = threading.Event()
        self.start()

    @property
    def urls(self) -> dict[str, str]:
        """The address by protocol."""
        s = "s" if self.tls is not None else ""
        place = f"127.0.0.1:{self.port}"
        return {"openpi": f"ws{s}://{place}", "v2": f"http{s}://{place}/v2/models/toy"}

    def start(self) -> None:
        """Listen, the first time or again."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(16)
        self.port = listener.getsockname()[1]
        self._listener, self._ended = listener, threading.Event()
        threading.Thread(target=self._accept, args=(listener, self._ended), daemon=True).start()

    def kill(self) -> None:
        """End as a process that is killed: every connection is reset, none is accepted."""
        self._ended.set()
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self.drop()

    def drop(self) -> None:
        """Reset every connection."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.shutdown(socket.SHUT_RDWR)
                one.close()
        self._open.clear()

    def _accept(self, listener: socket.socket, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, ended), daemon=True).start()

    def _serve(self, connection: socket.socket, ended: threading.Event) -> None:
        self._open.add(connection)
        try:
            connection.settimeout(20.0)
            given = connection
            if self.tls is not None:
                given = self.tls.wrap_socket(connection, server_side=True)
                self._open.add(given)
            stream = _Stream(given)
            head = stream.until(b"\r\n\r\n")
            if b"upgrade: websocket" in head.lower():
                self._openpi(stream, head, ended)
            else:
                self._v2(stream, head, ended)
        except (OSError, EOFError, ssl.SSLError):
            pass
        finally:
            self._open.discard(connection)
            connection.close()

    def _openpi(self, stream: _Stream, head: bytes, ended: threading.Event) -> None:
        import msgpack

        key = next(
            line.split(b":", 1)[1].strip()
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key")
        )
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
        stream.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        stream.send(_frame(2, msgpack.packb(self._metadata)))
        while not ended.is_set():
            given = msgpack.unpackb(stream.frame(), object_hook=_unpacked)
            found: dict[str, Any] = dict(self._outputs(given))
            if "id" in given:
                found["id"] = given["id"] - (self.mode == "other")
            good = _frame(2, msgpack.packb(found, default=_packed))
            bad = {
                "garbage": _frame(2, b"\xc1 is no msgpack"),
                "error": _frame(1, b"Traceback (most recent call last):\n  KeyError: 'obs'"),
                "gigabyte": b"\x82\x7f" + struct.pack(">Q", GIGABYTE),
                "half": good[: len(good) // 2],
            }
            stream.send(bad.get(self.mode, good))

    def _v2(self, stream: _Stream, head: bytes, ended: threading.Event) -> None:
        from policy_runner.backends.remote.protocols.v2_messages import (
            JSON_LENGTH,
            decode_request,
            encode_answer,
        )

        while not ended.is_set():
            sizes = [
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            ]
            body = stream.take(sizes[0] if sizes else 0)
            if head.startswith(b"GET"):
                stream.send(_http(b'{"name":"toy"}'))
                head = stream.until(b"\r\n\r\n")
                continue
            length = body.find(b"]}", 0) if body else 0
            for line in head.split(b"\r\n"):
                if line.lower().startswith(JSON_LENGTH.lower().encode()):
                    length = int(line.split(b":")[1])
            request = decode_request(body, str(length))
            outputs = self._outputs(request.tensors)
            answered, size = encode_answer(outputs, request, "toy")
            if self.mode == "other":
                number = request.id.encode()
                answered = answered.replace(b'"id":"' + number, b'"id":"' + b"9" * len(number))
            good = _http(answered, more=f"{JSON_LENGTH}: {size}\r\n")
            bad = {
                "garbage": b"this is no HTTP\r\n\r\n",
                "error": _http(json.dumps({"error": "KeyError: 'obs'"}).encode(), "500 Oh"),
                "gigabyte": f"HTTP/1.1 200 OK\r\nContent-Length: {GIGABYTE}\r\n\r\n".encode(),
                "half": good[: len(good) - 8],
            }
            stream.send(bad.get(self.mode, good))
            head = stream.until(b"\r\n\r\n")

    def _outputs(self, given: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
        """The outputs of a request; waits if the mode says so."""
        self.asked += 1
        while self.mode == "hangs" and not self._ended.wait(0.01):
            pass
        if self.mode == "late" and self.asked % LATE_EVERY == 0:
            self._ended.wait(self._late_s)
        found = self._answer(given)
        if self.mode == "nan":
            return {name: np.full_like(one, np.nan) for name, one in found.items()}
        if self.mode == "shape":
            return {name: one[..., :1] for name, one in found.items()}
        return found


class _Stream:
    """Bytes of a connection, by count or up to a mark."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._kept = connection, b""

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def until(self, mark: bytes) -> bytes:
        while mark not in self._kept:
            self._more()
        found, _, self._kept = self._kept.partition(mark)
        return found + mark

    def take(self, count: int) -> bytes:
        while len(self._kept) < count:
            self._more()
        found, self._kept = self._kept[:count], self._kept[count:]
        return found

    def frame(self) -> bytes:
        """The content of the next frame of a client, which is masked; other frames are skipped."""
        while True:
            first, second = self.take(2)
            size = second & 127
            if size > 125:
                size = int.from_bytes(self.take(2 if size == 126 else 8), "big")
            mask = np.frombuffer(self.take(4), np.uint8)
            data = np.frombuffer(self.take(size), np.uint8)
            if first & 15 == 8:
                raise EOFError
            if first & 15 in (1, 2):
                return bytes(data ^ np.resize(mask, size))

    def _more(self) -> None:
        piece = self._connection.recv(1 << 16)
        if not piece:
            raise EOFError
        self._kept += piece


def _frame(opcode: int, data: bytes) -> bytes:
    size = len(data)
    if size < 126:
        return bytes((128 | opcode, size)) + data
    if size < 1 << 16:
        return bytes((128 | opcode, 126)) + struct.pack(">H", size) + data
    return bytes((128 | opcode, 127)) + struct.pack(">Q", size) + data


def _http(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def _packed(value: Any) -> Any:
    return {
        b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str,
        b"shape": value.shape,
    }  # fmt: skip


def _unpacked(found: dict[Any, Any]) -> Any:
    if b"__ndarray__" not in found:
        return found
    kind = np.dtype(found[b"dtype"])
    return np.ndarray(buffer=found[b"data"], dtype=kind, shape=found[b"shape"])
