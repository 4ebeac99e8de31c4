"""The executor's own heartbeat and its failures, for the control thread to watch."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from rclpy.clock import Clock, ClockType

from policy_runner.core.safety.loop_watch import LoopWatch

_PERIOD_S = 0.25
_MINUTE_NS = 60_000_000_000


class ExecutorPulse:
    """A timer that writes when it ran: it falls silent when a callback blocks the executor."""

    def __init__(self, node: Any) -> None:
        self.watch = LoopWatch()
        self._failed_ns: deque[int] = deque(maxlen=1000)
        # Steady time: with use_sim_time and a paused simulator the executor lives on.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(_PERIOD_S, self._beat, clock=clock)

    def failed(self) -> None:
        """A callback raised."""
        self._failed_ns.append(time.monotonic_ns())
        self._count()

    def _beat(self) -> None:
        self.watch.beat_ns = time.monotonic_ns()
        self._count()

    def _count(self) -> None:
        failed, begin = self._failed_ns, time.monotonic_ns() - _MINUTE_NS
        while failed and failed[0] < begin:
            failed.popleft()
        self.watch.failures = len(failed)
