"""Who may ask: the addresses that browsers send, and rates. `tokens` has the tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from policy_runner.backends.remote.tokens import is_loopback

Headers = Iterable[tuple[bytes, bytes]]


def foreign_page(headers: Headers, loopback: bool) -> str:
    """Why a request seems to come from another web page, in words; "" if it does not.

    A page in a browser on this machine may open connections to loopback. It then sends its own
    address as `Origin`, or a name that its owner pointed to loopback as `Host`.

    Args:
        headers: of the request, with names in lower case.
        loopback: the server listens on loopback only.
    """
    found = {name: value for name, value in headers if name in (b"origin", b"host")}
    host = found.get(b"host", b"").decode("latin-1").lower()
    origin = found.get(b"origin")
    if origin is not None and origin.decode("latin-1").lower().partition("://")[2] != host:
        return "a request of a web page of another address"
    if loopback and host and not is_loopback(_without_port(host)):
        return "a request to a name that is not this machine's"
    return ""


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


class Rate:
    """Allows so many events per second, with a burst of as many as one second brings."""

    def __init__(self, per_s: float, clock: Callable[[], float]) -> None:
        """Begin with the whole burst.

        Args:
            per_s: events per second; 0: no limit.
            clock: a monotonic clock [s].
        """
        self._per_s = per_s
        self._clock = clock
        self._left = max(per_s, 1.0)
        self._at = clock()

    def wait_s(self) -> float:
        """Take one event; return 0, or the time [s] until one is left (then nothing is taken)."""
        if not self._per_s:
            return 0.0
        now = self._clock()
        self._left = min(max(self._per_s, 1.0), self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left >= 1.0:
            self._left -= 1.0
            return 0.0
        return (1.0 - self._left) / self._per_s
