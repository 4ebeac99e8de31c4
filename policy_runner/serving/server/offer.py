"""What all endpoints of a worker share: the policy, the turns at its model, the log."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

from policy_runner.serving.server.serve_settings import ServeSettings
from policy_runner.serving.server.trust import Rate
from policy_runner.serving.server.turns import Turns
from policy_runner.serving.session.policy_session import PolicySession, SessionGroup
from policy_runner.serving.session.served_policy import ServedPolicy

LOG = logging.getLogger("policy_runner.serving")
_LINES_PER_S = 5.0
_LONGEST_LINE = 300


class Offer:
    """The policy of a worker, and what its endpoints share.

    Attributes:
        settings: of the server.
        policy: loaded once.
        turns: at its model.
        refused: how often each kind of refusal happened.
    """

    def __init__(self, settings: ServeSettings, policy: ServedPolicy) -> None:
        """Measure the model to choose how requests take turns.

        Args:
            settings: of the server.
            policy: not used by anything else.
        """
        self.settings = settings
        self.policy = policy
        self.turns = Turns(settings.bounds, policy.step_takes_ns())
        self.refused: Counter[str] = Counter()
        self._lines = Rate(_LINES_PER_S, time.monotonic)

    def note(self, error: Exception | str, kind: str = "") -> None:
        """Count a refusal, and log its sentence at a bounded rate.

        The sentences name keys, types and shapes. They have no content of a message and no header.
        """
        self.refused[kind or type(error).__name__] += 1
        if not self._lines.wait_s():
            text = str(error)[:_LONGEST_LINE]
            LOG.warning("%s", "".join(c if c.isprintable() else " " for c in text))


DIRECT = "direct"  # key of a connection's state in ASGI's scope


class Direct:
    """What a websocket calls with the bytes of a message, before ASGI's queue.

    Attributes:
        answer: returns the bytes of the answer, or None to pass the message on; None: pass all on.
    """

    def __init__(self) -> None:
        self.answer: Callable[[bytes], bytes | None] | None = None


class HttpConnection:
    """The state of one connection of HTTP: a session, made with its first request.

    Attributes:
        rate: of its requests.
    """

    def __init__(self, most_per_s: float) -> None:
        """Begin without session.

        Args:
            most_per_s: requests per second.
        """
        self.rate = Rate(most_per_s, time.monotonic)
        self._session: PolicySession | SessionGroup | None = None
        self._rows: int | None = None

    def session(self, policy: ServedPolicy, rows: int | None) -> PolicySession | SessionGroup:
        """The session of this connection; another number of rows begins a new one.

        Args:
            policy: of the server.
            rows: number of simulators; None: one, without an axis for it.
        """
        if self._session is None or rows != self._rows:
            self._session = policy.session() if rows is None else policy.group(rows)
            self._rows = rows
        return self._session

    def reset(self) -> None:
        """Reset the session, if there is one."""
        if self._session is not None:
            self._session.reset()

    def close(self) -> None:
        """Forget the session."""
        self._session = None
