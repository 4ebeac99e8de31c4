"""Sources of ticks: the monotonic clock, /clock, or lockstep with a simulator.

Each ticker's `wait` sleeps until the next tick and returns its time on the loop's clock. It
returns None if the tick is not due yet, so that the caller can check whether it should stop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rclpy.node import Node

from policy_runner.core.inputs.cdr import Unreadable
from policy_runner.core.inputs.joints import NEVER
from policy_runner.ros.inputs.polling import (
    MOST_TAKES,
    MessageWait,
    PolledInput,
    PolledSubscription,
)
from policy_runner.ros.messages.raw_reader import header_stamp_ns

# Longest sleep in one `wait`, so that the caller can check whether it should stop.
_LONGEST_WAIT_NS = 50_000_000
_SMALLEST_LEAP_NS = 500_000_000


class Ticker(Protocol):
    """The interface of a source of ticks for the control loop."""

    @property
    def now_ns(self) -> int:
        """Current time on the loop's clock [ns]. Ages are measured with this clock."""

    missed: int
    jumped: bool  # time jumped before this tick: the loop resets phase, histories and ages
    wake_up_error_ns: int

    def start(self) -> None:
        """Begin: the next tick is one period from now, or the simulator's next one."""

    def wait(self) -> int | None:
        """Sleep until the next tick and return its time [ns]; None: call again."""

    def look(self) -> int:
        """Return the current time on the loop's clock [ns], within a tick; never waits."""

    def continue_from(self, before: Any) -> None:
        """Continue the ticks of another ticker of this kind. Only the period may differ."""


class WallTicker:
    """Absolute deadlines on the monotonic clock; missed ones are counted and skipped."""

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._deadline_ns = 0
        self.missed = 0
        self.jumped = False
        self.wake_up_error_ns = 0

    @property
    def now_ns(self) -> int:
        """Current time on the monotonic clock [ns]."""
        return time.monotonic_ns()

    def start(self) -> None:
        """Begin: the first tick is one period from now."""
        self._deadline_ns = time.monotonic_ns()

    def look(self) -> int:
        """Return the current time on the monotonic clock [ns]."""
        return time.monotonic_ns()

    def continue_from(self, before: Any) -> None:
        """Continue: the next tick is one period after the last deadline of `before`."""
        self._deadline_ns, self.missed = before._deadline_ns, before.missed
        self.wake_up_error_ns = before.wake_up_error_ns

    def wait(self) -> int | None:
        """Sleep until the next deadline in the future; None after 50 ms without a tick."""
        deadline = self._deadline_ns + self._period_ns
        late = time.monotonic_ns() - deadline
        if late > 0:
            # A tick that is less than one period late runs at once. Older ticks are skipped,
            # never caught up in a burst.
            skipped = late // self._period_ns
            self.missed += skipped
            deadline += skipped * self._period_ns
        ahead = deadline - time.monotonic_ns()
        if ahead > _LONGEST_WAIT_NS:
            time.sleep(_LONGEST_WAIT_NS / 1e9)
            return None
        self._deadline_ns = deadline
        if ahead > 0:
            time.sleep(ahead / 1e9)
        now = time.monotonic_ns()
        self.wake_up_error_ns = now - deadline
        return now


class _ClockTicker:
    """The common part of simulation time and lockstep: the control thread reads /clock itself."""

    def __init__(self, node: Node, period_ns: int, clock: PolledSubscription) -> None:
        self._clock = clock
        self._period_ns = period_ns
        self._due_ns = NEVER
        self.now_ns = NEVER
        self.missed = 0
        self.jumped = False
        self.wake_up_error_ns = 0
        self.damaged = 0  # invalid messages of /clock
        self._messages = MessageWait(node.context, [clock])

    def start(self) -> None:
        """Forget the time and wait for the first message of /clock."""
        self._due_ns = self.now_ns = NEVER

    def continue_from(self, before: Any) -> None:
        """Continue: the next tick is one period after the last tick of `before`."""
        self.now_ns, self.missed, self.jumped = before.now_ns, before.missed, before.jumped
        self._due_ns = before._due_ns
        if before._due_ns != NEVER:
            self._due_ns += self._period_ns - before._period_ns

    def _sleep(self) -> None:
        """Sleep until a message arrives on one of the subscriptions, at most 50 ms."""
        self._messages.wait(_LONGEST_WAIT_NS)

    def _take_clock(self) -> bool:
        """Read the newest message of /clock and detect jumps; True if it read a valid message.

        Takes at most as many messages as a queue holds: a publisher that is faster than this loop
        must not keep it here forever.
        """
        got = False
        for _ in range(MOST_TAKES):
            taken = self._clock.take_raw()
            if taken is None:
                break
            raw, info = taken
            try:
                at = header_stamp_ns(raw)  # a Clock has the layout of a header's stamp
            except Unreadable:
                self.damaged += 1
                continue
            if self.now_ns != NEVER and (at < self.now_ns or at - self.now_ns > self._jump_ns):
                self.jumped = True
                self._due_ns = at
                self._note_jump(at, info["received_timestamp"])
            self.now_ns = at
            got = True
        return got

    def _note_jump(self, at_ns: int, wall_ns: int) -> None:
        """React to a jump of the simulation time to `at_ns`, received at wall time `wall_ns`."""

    @property
    def _jump_ns(self) -> int:
        # Must exceed one step of /clock. The step may be coarser than the period (25 ms in a bag),
        # and a message may be lost. Then deadlines are missed and counted, but no state is reset.
        return max(_SMALLEST_LEAP_NS, 2 * self._period_ns)

    def _is_due(self) -> bool:
        if self.now_ns == NEVER:
            return False
        if self._due_ns == NEVER:
            self._due_ns = self.now_ns
        return self.now_ns >= self._due_ns - 1000

    def _next(self) -> int:
        late = self.now_ns - self._due_ns
        skipped = max(0, (late + 1000) // self._period_ns)
        self.missed += skipped
        self._due_ns += (skipped + 1) * self._period_ns
        return self.now_ns


class SimTimeTicker(_ClockTicker):
    """Ticks as /clock passes each deadline. A paused clock gives no ticks and no faults."""

    def __init__(
        self,
        node: Node,
        period_ns: int,
        clock: PolledSubscription,
        inputs: Sequence[PolledInput] = (),
    ) -> None:
        super().__init__(node, period_ns, clock)
        self._inputs = inputs

    def _note_jump(self, at_ns: int, wall_ns: int) -> None:
        # Messages that still wait in the queues are from before the jump. Their age is counted
        # from the time they are read, so that they would pass as new.
        for one in self._inputs:
            one.leave_out_before(wall_ns)

    def look(self) -> int:
        """Return the newest time of /clock [ns]."""
        self._take_clock()
        return self.now_ns

    def wait(self) -> int | None:
        """Sleep until /clock reaches the next deadline."""
        if not self._is_due():
            self._sleep()
            self._take_clock()
            if not self._is_due():
                return None
        return self._next()


class LockstepTicker(_ClockTicker):
    """Ticks when every input and /clock carry the same stamp: by stamp, never by count.

    With counted commands, one stall of 0.25 s changed a trajectory. With stamps the trajectory is
    the same on an idle, a stalled and a loaded machine. If the simulator repeats a stamp, it has
    not received the answer: `repeat` sends the answer again.
    """

    def __init__(
        self,
        node: Node,
        period_ns: int,
        clock: PolledSubscription,
        inputs: Sequence[PolledInput],
        repeat: Callable[[], None],
    ) -> None:
        super().__init__(node, period_ns, clock)
        self._inputs = inputs
        self._stamped = [one for one in inputs if one.slot.text is None]
        self._repeat = repeat
        self._stepped_ns = NEVER
        self._messages = MessageWait(node.context, [clock, *(one.polled for one in inputs)])

    def start(self) -> None:
        """Forget the time and the last step, and wait for the simulator's next step."""
        super().start()
        self._stepped_ns = NEVER

    def look(self) -> int:
        """Return the time of this step [ns], because the simulator waits for the answer."""
        return self.now_ns

    def continue_from(self, before: Any) -> None:
        """Continue like the base class; a step that `before` has answered stays answered."""
        super().continue_from(before)
        self._stepped_ns = before._stepped_ns

    def wait(self) -> int | None:
        """Sleep until the simulator has published one complete step."""
        self._sleep()
        clock_came = self._take_clock()
        for one in self._inputs:
            one.drain(self.now_ns, arrival="stamp")
            if self.jumped:
                # After a jump back, single joints may still have stamps of the future.
                one.slot.forget_later_than(self.now_ns)
        if self.now_ns == NEVER or any(o.slot.stamp_ns != self.now_ns for o in self._stamped):
            return None
        if self.now_ns == self._stepped_ns:
            if clock_came:
                self._repeat()
            return None
        self._stepped_ns = self.now_ns
        if not self._is_due():
            self._repeat()  # between two ticks the last command stays valid
            return None
        return self._next()
