"""Chooses the client of an address, and keeps it connected with a growing pause between tries."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policy_runner.backends.remote.client.interface import (
    Arrays,
    Given,
    InferenceClient,
    RemoteError,
    ServerAddress,
    Unreachable,
)


def open_client(address: ServerAddress, outputs: Sequence[str] = ()) -> InferenceClient:
    """Return the client of the address's protocol, not connected yet.

    Args:
        address: the server.
        outputs: those that are used; none: all. openpi's servers always send all.

    Raises:
        Refusal: the address does not name what its protocol needs.
    """
    if address.scheme in ("ws", "wss"):
        from policy_runner.backends.remote.client.openpi_client import OpenpiClient

        return OpenpiClient(address)
    from policy_runner.backends.remote.client.v2_client import V2Client

    return V2Client(address, outputs)


@dataclass(frozen=True)
class Backoff:
    """Pauses between tries to connect.

    Attributes:
        first_s: after the first failure [s].
        most_s: the longest [s].
        factor: from one pause to the next.
        jitter: part of a pause that is random, so that robots do not return at the same time.
    """

    first_s: float = 0.1
    most_s: float = 5.0
    factor: float = 2.0
    jitter: float = 0.2

    def pause_s(self, failures: int, chance: float) -> float:
        """The pause after so many failures in a row [s]; `chance` is from 0 to 1."""
        grown = self.first_s * self.factor ** min(max(failures - 1, 0), 32)
        return min(self.most_s, grown) * (1.0 - self.jitter * chance)


class SteadyClient:
    """A client that connects again by itself; see `interface.InferenceClient`.

    `infer` never sleeps. During a pause it raises at once, so the caller decides what to do
    without the server. Any failure closes the connection: a late answer is lost with it.

    Attributes:
        metadata: what the server said at the newest connection.
        connections: how often a connection was made.
        failures: in a row, since the last answer.
    """

    def __init__(
        self,
        client: InferenceClient,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Wrap a client.

        Args:
            client: used by this object alone.
            backoff: pauses between tries; None: the defaults.
            clock: a monotonic clock [s].
            chance: random numbers from 0 to 1.
        """
        self._client = client
        self._backoff = backoff or Backoff()
        self._clock, self._chance = clock, chance
        self._connected = False
        self._next_s: float | None = None  # of the next try; None: at once
        self._why = ""
        self.metadata: Mapping[str, Any] = {}
        self.connections = 0
        self.failures = 0

    @property
    def told(self) -> Mapping[str, Any]:
        """See `InferenceClient.told`."""
        return self._client.told

    def connect(self) -> Mapping[str, Any]:
        """Connect if the pause is over; return the server's metadata.

        Raises:
            RemoteError: no connection, or the pause is not over.
        """
        if self._connected:
            return self.metadata
        if self._next_s is not None and self._clock() < self._next_s:
            left = self._next_s - self._clock()
            raise Unreachable(f"{self._why}; the next try is in {left:.1f} s")
        try:
            self.metadata = self._client.connect()
        except RemoteError as error:
            self._failed(error)
            raise
        self._connected = True
        self.connections += 1
        return self.metadata

    def infer(self, inputs: Given, deadline_s: float) -> Arrays:
        """See `InferenceClient.infer`; it connects first if necessary."""
        self.connect()
        try:
            found = self._client.infer(inputs, deadline_s)
        except RemoteError as error:
            self._failed(error)
            raise
        self.failures = 0
        self._next_s = None
        return found

    def close(self) -> None:
        """See `InferenceClient.close`."""
        self._connected = False
        self._client.close()

    def _failed(self, error: RemoteError) -> None:
        self.close()
        self.failures += 1
        self._why = str(error)
        pause = self._backoff.pause_s(self.failures, self._chance())
        self._next_s = self._clock() + pause
