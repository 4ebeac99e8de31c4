"""Watch the loop and its process: deadlines, the executor, and other publishers of commands."""

from __future__ import annotations

from policy_runner.core.safety.decision import Decision, Fault, Reason
from policy_runner.core.settings import Settings

_SUSPENDED_NS = 500_000_000


class LoopWatch:
    """Judges the process on every tick, from plain numbers that other threads write.

    Attributes:
        beat_ns: the executor's newest heartbeat [ns, monotonic clock].
        failures: number of the executor's callbacks that raised within the last minute.
        commanders: names of other publishers of a command topic; '' without one.
    """

    def __init__(self) -> None:
        self.beat_ns = 0
        self.failures = 0
        self.commanders = ""
        self._begun_ns = 0
        self._last_ns = 0
        self._excused_beat_ns = -1  # the last heartbeat before the newest standstill
        self._missed = 0
        self._late_ticks = 0

    def begin(self, now_ns: int) -> None:
        """Start with the loop. Earlier silence and earlier late ticks do not count."""
        self._begun_ns = self._last_ns = now_ns
        self._missed = self._late_ticks = 0
        self._excused_beat_ns = -1

    def fault(self, now_ns: int, missed: int, settings: Settings) -> Fault | None:
        """Return the fault of this tick, or None.

        Args:
            now_ns: on the monotonic clock.
            missed: deadlines missed since the loop started.
            settings: the robot's rules.
        """
        self._late_ticks = self._late_ticks + 1 if missed != self._missed else 0
        self._missed = missed
        timeout_ns = settings.executor_timeout_ns
        stood_still = now_ns - self._last_ns > max(_SUSPENDED_NS, 3 * settings.period_ns)
        if stood_still and self.beat_ns != self._excused_beat_ns:
            # The whole process stood still, or the clock jumped, so the executor could not beat.
            # If it has not beaten since the last standstill it is silent: every tick may be late.
            self._begun_ns, self._excused_beat_ns = now_ns, self.beat_ns
        self._last_ns = now_ns
        if timeout_ns:
            silent_ns = now_ns - max(self.beat_ns, self._begun_ns)
            if silent_ns > timeout_ns:
                text = f"for {silent_ns / 1e9:.1f} s"
                return Fault(Decision.SAFE_STOP, Reason.EXECUTOR_SILENT, text)
        limit = settings.callback_failures
        if limit and self.failures >= limit:
            text = f"{self.failures} within a minute"
            return Fault(Decision.SAFE_STOP, Reason.CALLBACKS_FAILING, text)
        if self.commanders and settings.second_commander != "warn":
            stops = settings.second_commander == "safe_stop"
            decision = Decision.SAFE_STOP if stops else Decision.HOLD
            return Fault(decision, Reason.SECOND_COMMANDER, self.commanders)
        if settings.late_ticks and self._late_ticks >= settings.late_ticks:
            text = f"{self._late_ticks} ticks"
            return Fault(Decision.HOLD, Reason.DEADLINES_MISSED, text)
        return None
