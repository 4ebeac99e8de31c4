"""What the guard says of itself, heard by the control thread: whether it is there, and acted."""

from __future__ import annotations

import time

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile

from policy_runner.ros.inputs.polling import PolledSubscription
from policy_runner.ros.messages.topics import Topics
from policy_runner.telemetry.recording.diagnostics_cdr import read_diagnostics

GUARD_TOPIC = "~/guard"
PRESENT_NS = 2_000_000_000  # it reports twice a second
_MOST_TAKES = 16


class GuardReport:
    """Takes `~/guard`; counts how often the guard stopped the outputs of this process.

    `acts` and `reason` are of the newest report of this session; `heard_ns` is when one came, on
    the monotonic clock; 0 before the first.
    """

    def __init__(self, topics: Topics, session: str) -> None:
        self._polled = PolledSubscription(
            topics, DiagnosticArray, GUARD_TOPIC, QoSProfile(depth=10)
        )
        self._session = session
        self.acts = 0
        self.reason = ""
        self.heard_ns = 0
        self.silence_ns = 1 << 62  # what the guard tolerates; set by the executor
        self._known: int | None = None

    def drain(self) -> bool:
        """Take all that is there, never blocks; whether the guard has acted since the last call."""
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
                continue  # it does not know the outputs of this process (yet)
            if values.get("hears") == "true":
                self.heard_ns = time.monotonic_ns()
            acts, known = int(values["acts"]), self._known
            self._known = acts
            # A guard that was restarted counts from 0 again.
            if acts > (known if known is not None and known <= acts else 0):
                self.acts += 1
                self.reason = values.get("reason", "")
                acted = True
        return acted

    def is_watching(self) -> bool:
        """Whether a guard has ever reported for this session: it knows the outputs."""
        return self._known is not None

    def is_present(self) -> bool:
        """Whether a guard that knows the outputs and hears heartbeats reported within 2 s."""
        return bool(self.heard_ns) and time.monotonic_ns() - self.heard_ns < PRESENT_NS
