"""What a caller of a policy server sees: connect, infer with a deadline, close, and errors.

A client blocks the thread that calls it, for at most its deadline. So it belongs into a thread or
process of its own, never into the control thread. One thread at a time may use a client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np

from policy_runner.backends.remote.protocols.bounds import WireLimits
from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.model import InferenceFailed

Arrays = Mapping[str, np.ndarray]
Given = Mapping[str, np.ndarray | str]  # arrays and texts
_PORTS = {"ws": 8000, "wss": 443, "http": 8000, "https": 443}


class RemoteError(InferenceFailed):
    """An inference on a server did not succeed; the text says why, and what to do."""


class Unreachable(RemoteError):
    """There is no connection, or it was lost."""


class TooLate(RemoteError):
    """The deadline passed. The connection is closed, and the late answer is lost with it."""


class ServerRefused(RemoteError):
    """The server answered that it does not serve this request."""


class Garbled(RemoteError):
    """The answer is not as the protocol says, or is not the answer of this request."""


@dataclass(frozen=True)
class ServerAddress:
    """A server, and what proves who asks.

    Attributes:
        url: `ws://HOST:PORT` for openpi, `http://HOST:PORT/v2/models/NAME` for the Open Inference
            Protocol; with wss and https over TLS.
        token: sent with each connection; "": none. It is in no repr.
        authorities: PEM file of certificates that sign the server's; None: those of the system.
        limits: of an answer.
        connect_s: deadline of connecting [s].
    """

    url: str
    token: str = field(default="", repr=False)
    authorities: Path | None = None
    limits: WireLimits = field(default_factory=WireLimits)
    connect_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse an address that cannot be used.

        Raises:
            Refusal: of its scheme, host or port, or it has a secret in it.
        """
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError as error:
            raise refuse("", "the server's address", "SCHEME://HOST:PORT", self.url) from error
        if parts.scheme not in _PORTS or not parts.hostname or port == 0:
            hint = did_you_mean(parts.scheme, _PORTS)
            expected = f"{', '.join(_PORTS)}, then ://HOST:PORT"
            raise refuse("", "the server's address", expected, self.url, hint)
        if parts.username or parts.password or parts.query.lower().find("token=") >= 0:
            expected = "an address without secrets, which logs may show"
            raise refuse("", "the server's address", expected, f"one for {parts.hostname}",
                         "give the token by file or environment")  # fmt: skip

    @property
    def scheme(self) -> str:
        """One of ws, wss, http, https."""
        return urlsplit(self.url).scheme

    @property
    def host(self) -> str:
        """Name or address of the machine."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """TCP port; of openpi by default, or of TLS."""
        return urlsplit(self.url).port or _PORTS[self.scheme]

    @property
    def encrypted(self) -> bool:
        """Whether TLS is used."""
        return self.scheme in ("wss", "https")


class InferenceClient(Protocol):
    """A client of one server. `infer` without a connection is a RemoteError."""

    @property
    def told(self) -> Mapping[str, Any]:
        """What the newest answer of `infer` says in addition to its arrays, such as times."""

    def connect(self) -> Mapping[str, Any]:
        """Connect; return what the server says about itself.

        Raises:
            RemoteError: no connection within the address's `connect_s`.
        """

    def infer(self, inputs: Given, deadline_s: float) -> Arrays:
        """Return the outputs of the server for these inputs.

        Args:
            inputs: arrays and texts by name.
            deadline_s: for all of it [s].

        Raises:
            RemoteError: no usable answer in time. The client is closed then.
        """

    def close(self) -> None:
        """Close the connection, if there is one. Safe to call twice."""
