"""The settings of a server, and the refusal of settings that would open it to the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from policy_runner.backends.remote.protocols.bounds import WireLimits
from policy_runner.backends.remote.tokens import is_loopback
from policy_runner.core.errors import Problem, Refusal
from policy_runner.robot.values import NODE
from policy_runner.serving.session.request import KeyRule

PORT = 8000  # openpi's


@dataclass(frozen=True)
class Bounds:
    """Bounds of one worker, so that clients cannot take all of it.

    Attributes:
        most_connections: at the same time; the next one is answered with 503.
        most_new_per_s: connections per second, with a burst of as many; then 503.
        most_requests_per_s: of one connection. HTTP is answered with 429, openpi waits.
        wait_s: longest wait for the model; then 503, or openpi's text frame and close code 1013.
        most_waiting: requests that wait for the model; the next one is answered as after `wait_s`.
        request_s: time for a whole request to arrive; then the connection is closed.
        idle_s: a connection of HTTP without request is closed, and its state forgotten.
    """

    most_connections: int = 64
    most_new_per_s: float = 200.0
    most_requests_per_s: float = 10_000.0
    wait_s: float = 1.0
    most_waiting: int = 64
    request_s: float = 10.0
    idle_s: float = 60.0


@dataclass(frozen=True)
class ServeSettings:
    """What `policy-runner serve` was asked for.

    Attributes:
        spec: policy.yaml or its folder.
        params: the node's parameter file.
        node: fully qualified node name, which selects the sections of the file.
        host: address to listen on.
        port: 0: any free one.
        token: what clients must send; "": none is checked. It is in no repr.
        certificate: TLS certificate file with its chain.
        key: its private key.
        insecure: serve other machines without token and TLS.
        workers: processes; a connection stays with its worker.
        limits: of a message.
        bounds: of a worker.
        rule: how keys of clients become inputs.
    """

    spec: Path
    params: Path | None = None
    node: str = NODE
    host: str = "127.0.0.1"
    port: int = PORT
    token: str = field(default="", repr=False)
    certificate: Path | None = None
    key: Path | None = None
    insecure: bool = False
    workers: int = 1
    limits: WireLimits = field(default_factory=WireLimits)
    bounds: Bounds = field(default_factory=Bounds)
    rule: KeyRule = field(default_factory=KeyRule)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)

    def check(self) -> None:
        """Refuse an open server, and settings that contradict each other.

        Raises:
            Refusal: it names every problem.
        """
        problems: list[Problem | str] = []
        trusted = self.token or self.certificate is not None
        if not (self.loopback or trusted or self.insecure):
            remedy = "anyone on the network could use the model; --insecure allows that"
            expected = "--token-file or --tls-certificate with an address other than loopback"
            problems.append(Problem("", "--host", expected, self.host, remedy))
        if (self.certificate is None) != (self.key is None):
            got = "one of them"
            problems.append(Problem("", "--tls-certificate, --tls-key", "both or none", got))
        if not 1 <= self.workers <= 64:
            problems.append(Problem("", "--workers", "1 to 64", f"{self.workers}"))
        if not 0 <= self.port <= 65535:
            problems.append(Problem("", "--port", "0 to 65535", f"{self.port}"))
        if not 1024 <= self.limits.most_bytes <= 1 << 30:
            got = f"{self.limits.most_bytes}"
            problems.append(Problem("", "--max-message-bytes", "1024 to 1073741824", got))
        if self.bounds.most_connections < 1:
            got = f"{self.bounds.most_connections}"
            problems.append(Problem("", "--max-connections", "1 or more", got))
        if not 0.0 < self.bounds.wait_s <= 3600.0:
            problems.append(Problem("", "--max-wait", "0 to 3600 s", f"{self.bounds.wait_s:g}"))
        if problems:
            raise Refusal(problems)
