"""Writes the log: one line for each change of the decision, each request and its answer.

The control thread stores records and never logs. The executor takes these records a few times a
second. Frequent changes are throttled: a few lines at once, then one line that counts the rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from policy_runner.core.safety.decision import Change, Decision, Reason, Safety
from policy_runner.core.safety.operator_requests import Operator

AT_ONCE = 10  # lines of one kind within an interval; further ones are counted


class Throttle:
    """Lets some lines of one kind through in each interval, and counts the others."""

    def __init__(self, interval_s: Callable[[], float], clock_s: Callable[[], float]) -> None:
        """Begin the first interval.

        Args:
            interval_s: returns the present length of an interval [s].
            clock_s: a monotonic clock [s].
        """
        self.suppressed = 0  # lines since the interval began
        self._interval_s = interval_s
        self._clock_s = clock_s
        self._begun_s = clock_s()
        self._passed = 0

    def passes(self) -> bool:
        """Return whether one more line may be written now; count the line if not."""
        self._passed += 1
        if self._passed <= AT_ONCE:
            return True
        self.suppressed += 1
        return False

    def ended(self) -> int:
        """Begin a new interval if this one has ended.

        Returns:
            The number of lines that the ended interval has suppressed; 0 while it lasts.
        """
        if self._clock_s() - self._begun_s < self._interval_s():
            return 0
        suppressed, self.suppressed, self._passed = self.suppressed, 0, 0
        self._begun_s = self._clock_s()
        return suppressed


class Story:
    """Writes the control thread's records to the log; called by the executor."""

    def __init__(
        self,
        logger: Any,
        interval_s: Callable[[], float],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        logger: has `info`, `warning` and `error`, like rclpy's logger.
        interval_s: least time between two summaries of suppressed lines.
        clock_s: a monotonic clock.
        """
        self._logger = logger
        self._decisions = Throttle(interval_s, clock_s)
        self._requests = Throttle(interval_s, clock_s)
        self._findings = Throttle(interval_s, clock_s)
        # The executor writes. The main thread also writes, when the process ends.
        self._lock = threading.Lock()
        self._safety: Safety | None = None
        self._changed = 0  # changes taken from that `Safety`
        self._known: dict[str, tuple[str, ...]] = {}

    def tell(self, safety: Safety | None, operator: Operator) -> None:
        """Write the new requests and the new changes of the decision."""
        with self._lock:
            self._tell(safety, operator)

    def _tell(self, safety: Safety | None, operator: Operator) -> None:
        while operator.events:
            self._request(Decision.HOLD, operator.events.popleft())
        if safety is not None:
            self._decisions_of(safety)
        if count := self._decisions.ended():
            now = "" if safety is None else f"; now {sentence(safety)}"
            self._logger.warning(f"{count} further changes of the decision{now}")
        if count := self._requests.ended():
            self._logger.warning(f"{count} further requests of operators")
        if count := self._findings.ended():
            self._logger.warning(f"{count} further changes of what is published")

    def _decisions_of(self, safety: Safety) -> None:
        if safety is not self._safety:
            self._safety, self._changed = safety, 0
        while safety.changes:
            change = safety.changes.popleft()
            self._changed += 1
            if self._decisions.passes():
                self._write(change.decision, change_sentence(change))
        lost = safety.changed - self._changed
        if lost > 0:  # the record is bounded and has dropped older changes
            self._changed += lost
            self._decisions.suppressed += lost

    def answered(self, request: str, accepted: bool, message: str) -> None:
        """Write the answer of a service.

        Args:
            request: name of the service, such as "~/arm".
            accepted: the answer; a refusal is a warning.
            message: the answer's text.
        """
        self._request(Decision.RUN if accepted else Decision.HOLD, f"{request}: {message}")

    def _request(self, like: Decision, text: str) -> None:
        if self._requests.passes():
            self._write(like, text)

    def _write(self, like: Decision, text: str) -> None:
        # Three separate calls: rclpy's logger refuses two severities from one line of code.
        if like is Decision.SAFE_STOP:
            self._logger.error(text)
        elif like is Decision.HOLD:
            self._logger.warning(text)
        else:
            self._logger.info(text)

    def found(self, kind: str, sentences: Sequence[str]) -> None:
        """Write the new findings of one kind, and one line when none of them holds any more.

        Args:
            kind: name of this kind of findings, such as "other participants".
            sentences: all findings of this kind that hold now.
        """
        before = self._known.get(kind, ())
        self._known[kind] = tuple(sentences)
        for new in sentences:
            if new not in before and self._findings.passes():
                self._logger.warning(new)
        over = [old for old in before if old not in sentences]
        if over and not sentences and self._findings.passes():
            self._logger.info(f"resolved: {'; '.join(over)}")


def change_sentence(change: Change) -> str:
    """Describe a change of the decision."""
    if change.decision is Decision.RUN:
        if change.before is None or change.before is Decision.STARTING:
            return "RUN: the policy commands"
        return f"RUN again, after {change.before.value}: {change.before_reason.value}"
    return _sentence(change.decision, change.reason, change.detail)


def sentence(safety: Safety) -> str:
    """Describe the present decision."""
    return _sentence(safety.decision, safety.reason, safety.detail)


def _sentence(decision: Decision, reason: Reason, detail: str) -> str:
    if reason is Reason.NONE:
        return decision.value
    return f"{decision.value}: {reason.value}{f': {detail}' if detail else ''}"
