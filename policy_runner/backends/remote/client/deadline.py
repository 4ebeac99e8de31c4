"""Sockets that keep a deadline for a whole exchange, not for each of its parts."""

from __future__ import annotations

import io
import socket
import ssl
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from policy_runner.backends.remote.client.interface import ServerAddress, TooLate, Unreachable

_PIECE = 1 << 18


class Deadline:
    """A point in time that parts of an exchange share."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin now.

        Args:
            seconds: until the deadline [s].
            clock: a monotonic clock [s].
        """
        self._seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def left(self, doing: str) -> float:
        """The time that is left [s].

        Args:
            doing: what is waited for, for the error.

        Raises:
            TooLate: none is left.
        """
        found = self._end - self._clock()
        if found <= 0.0:
            text = f"no {doing} within {self._seconds:g} s; the server is slow or hangs"
            raise TooLate(f"{text}: raise the deadline, or use a faster server")
        return found


def resolved(host: str, port: int, within_s: float) -> list[Any]:
    """Return the addresses of a host, as `socket.getaddrinfo` does, within this time.

    A resolver without a network may wait for 10 s and more. It is left behind in its thread then.

    Raises:
        OSError: the host has no address; TimeoutError: the resolver has not answered.
    """
    found: SimpleQueue[list[Any] | OSError] = SimpleQueue()

    def ask() -> None:
        try:
            found.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except OSError as error:
            found.put(error)
        except UnicodeError:  # of IDNA, such as a label that is too long
            found.put(OSError("no name of a host"))

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = found.get(timeout=within_s)
    except Empty as error:
        raise TimeoutError("the resolver does not answer") from error
    if isinstance(answer, OSError):
        raise answer
    return answer


class DeadlineSocket:
    """A TCP connection, with TLS if the address says so. Every call ends at the deadline."""

    def __init__(self, address: ServerAddress) -> None:
        """Connect, within the address's `connect_s`.

        Raises:
            RemoteError: no connection.
        """
        self._where = f"{address.host}:{address.port}"
        self.deadline = Deadline(address.connect_s)
        plain: socket.socket | None = None
        try:
            plain = self._connected(address)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = plain if not address.encrypted else self._secured(plain, address)
        except ssl.SSLCertVerificationError as error:
            if plain is not None:
                plain.close()
            text = f"{self._where}: its certificate is not valid ({error.verify_message})"
            raise Unreachable(f"{text}; renew it, or name its authority's PEM file") from error
        except TimeoutError as error:
            if plain is not None:
                plain.close()
            text = f"{self._where}: no connection within {address.connect_s:g} s"
            raise Unreachable(f"{text}; is the server started, and the network up?") from error
        except OSError as error:
            if plain is not None:
                plain.close()
            text = f"{self._where}: {error.strerror or error}"
            raise Unreachable(f"{text}; start the server, or correct the address") from error

    def _connected(self, address: ServerAddress) -> socket.socket:
        """Connect to the first of the host's addresses that answers; each gets its share."""
        found = resolved(address.host, address.port, self.deadline.left("connection"))
        last: OSError = OSError("no address")
        for k, (family, kind, protocol, _, place) in enumerate(found):
            share = self.deadline.left("connection") / (len(found) - k)
            plain = socket.socket(family, kind, protocol)
            try:
                plain.settimeout(share)
                plain.connect(place)
            except OSError as error:
                plain.close()
                last = error
            else:
                return plain
        raise last

    def _secured(self, plain: socket.socket, address: ServerAddress) -> ssl.SSLSocket:
        authorities = str(address.authorities) if address.authorities else None
        context = ssl.create_default_context(cafile=authorities)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        plain.settimeout(self.deadline.left("TLS handshake"))
        return context.wrap_socket(plain, server_hostname=address.host)

    def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            RemoteError: late, or the connection was lost.
        """
        view = memoryview(data)
        while view:
            self._socket.settimeout(self.deadline.left("room for the request"))
            try:
                view = view[self._socket.send(view) :]
            except TimeoutError:
                continue  # `left` raises
            except OSError as error:
                raise self._lost(error) from error

    def receive(self, size: int = _PIECE) -> bytes:
        """Return the next bytes; empty at the end of the connection.

        Raises:
            RemoteError: late, or the connection was lost.
        """
        while True:
            self._socket.settimeout(self.deadline.left("answer"))
            try:
                return self._socket.recv(size)
            except TimeoutError:
                continue  # `left` raises
            except OSError as error:
                raise self._lost(error) from error

    def waiting(self) -> bytes:
        """Return bytes that have already arrived, without waiting.

        Raises:
            RemoteError: the connection was lost.
        """
        self._socket.setblocking(False)
        try:
            found = self._socket.recv(_PIECE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return b""
        except OSError as error:
            raise self._lost(error) from error
        if not found:
            raise self._lost(None)
        return found

    def makefile(self, *_arguments: Any, **_options: Any) -> io.BufferedReader:
        """A reader for `http.client`, under the same deadline."""
        return io.BufferedReader(_Reader(self), 1 << 16)

    def close(self) -> None:
        """Close the connection at once."""
        self._socket.close()

    def _lost(self, error: OSError | None) -> Unreachable:
        why = (error.strerror or str(error)) if error is not None else "the server closed it"
        return Unreachable(f"{self._where}: connection lost: {why}; look at the server's log")


class _Reader(io.RawIOBase):
    def __init__(self, connection: DeadlineSocket) -> None:
        self._connection = connection

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes."""
        data = self._connection.receive(len(buffer))
        buffer[: len(data)] = data
        return len(data)
