"""Receives the guard's reports, in the control thread: is a guard present, and has it acted?"""

from __future__ import annotations

import time

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile

from policy_runner.ros.inputs.polling import PolledSubscription
from policy_runner.ros.messages.topics import Topics
from policy_runner.telemetry.recording.diagnostics_cdr import read_diagnostics

GUARD_TOPIC = "~/guard"
PRESENT_NS = 2_000_000_000  # the guard reports twice a second
_MOST_TAKES = 16


class GuardReport:
    """Takes `~/guard`; counts how often the guard stopped the outputs of this process.

    `acts` counts the stops of this session, and `reason` is the reason of the last one.
    `unanswered` is the topic of the press that the guard stopped the outputs for; "" for a silence.
    `heard_ns` is the arrival of the last report in which the guard hears heartbeats, on the
    monotonic clock; 0 before the first.
    """

    def __init__(self, topics: Topics, session: str) -> None:
        """Subscribe to `~/guard`.

        Args:
            topics: creates the subscription.
            session: the session of this runner's `GuardContract`; other reports are ignored.
        """
        self._polled = PolledSubscription(
            topics, DiagnosticArray, GUARD_TOPIC, QoSProfile(depth=10)
        )
        self._session = session
        self.acts = 0
        self.reason = ""
        self.unanswered = ""
        self.heard_ns = 0
        self.silence_ns = 1 << 62  # longest silence that the guard accepts; the executor sets it
        self._known: int | None = None

    def drain(self) -> bool:
        """Take all waiting reports; return whether the guard has acted since the last call.

        Never blocks.
        """
        acted = False
        for _ in range(_MOST_TAKES):
            taken = self._polled.take_raw()
            if taken is None:
                return acted
            acted |= self._hear(taken[0])
        return acted

    def _hear(self, raw: bytes) -> bool:
        try:
            _, statuses = read_diagnostics(raw)
        except ValueError:
            return False
        acted = False
        for status in statuses:
            values = status.values
            if values.get("session") != self._session or not values.get("acts", "").isdigit():
                continue  # this guard does not know the outputs of this process (yet)
            if values.get("hears") == "true":
                self.heard_ns = time.monotonic_ns()
            acts, known = int(values["acts"]), self._known
            self._known = acts
            # A guard that was restarted counts from 0 again.
            if acts > (known if known is not None and known <= acts else 0):
                self.acts += 1
                self.reason = values.get("reason", "")
                self.unanswered = values.get("unanswered press", "")
                acted = True
        return acted

    def is_watching(self) -> bool:
        """Return whether a guard has ever reported for this session, so it knows the outputs."""
        return self._known is not None

    def is_present(self) -> bool:
        """Return whether a guard that hears our heartbeats has reported within the last 2 s."""
        return bool(self.heard_ns) and time.monotonic_ns() - self.heard_ns < PRESENT_NS
