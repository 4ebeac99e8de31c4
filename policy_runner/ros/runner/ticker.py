"""When the next tick is: by the monotonic clock, by /clock, or in lockstep with a simulator.

Each ticker's `wait` sleeps to the next tick and returns its time on the loop's clock, or
None when there is none yet (so that the caller can look whether it should stop).
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

# How long a wait may last before the caller gets to look whether it should stop.
_LONGEST_WAIT_NS = 50_000_000
_SMALLEST_LEAP_NS = 500_000_000


class Ticker(Protocol):
    """What the control loop needs of a source of ticks."""

    @property
    def now_ns(self) -> int:
        """Now, on the loop's clock [ns]; ages are counted on it."""

    missed: int
    jumped: bool  # time jumped before this tick: phase, histories and ages start anew
    wake_up_error_ns: int

    def start(self) -> None:
        """Begin: the next tick is one period from now, or the next one of the simulator."""

    def wait(self) -> int | None:
        """Sleep to the next tick and return its time [ns], or None to be called again."""

    def look(self) -> int:
        """The time by now on the loop's clock [ns], within a tick; never waits."""

    def continue_from(self, before: Any) -> None:
        """Go on where another ticker of this kind is; only the period may be another one."""


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
        """Now, on the monotonic clock [ns]."""
        return time.monotonic_ns()

    def start(self) -> None:
        """The first tick is one period from now."""
        self._deadline_ns = time.monotonic_ns()

    def look(self) -> int:
        """Now, on the monotonic clock [ns]."""
        return time.monotonic_ns()

    def continue_from(self, before: Any) -> None:
        """The next tick is one period from the other's last deadline."""
        self._deadline_ns, self.missed = before._deadline_ns, before.missed
        self.wake_up_error_ns = before.wake_up_error_ns

    def wait(self) -> int | None:
        """Sleep to the next deadline that is still ahead; None after a while, to look around."""
        deadline = self._deadline_ns + self._period_ns
        late = time.monotonic_ns() - deadline
        if late > 0:
            # The tick that is only late runs at once; those wholly in the past are skipped,
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
    """What simulation time and lockstep share: /clock, taken by the control thread itself."""

    def __init__(self, node: Node, period_ns: int, clock: PolledSubscription) -> None:
        self._clock = clock
        self._period_ns = period_ns
        self._due_ns = NEVER
        self.now_ns = NEVER
        self.missed = 0
        self.jumped = False
        self.wake_up_error_ns = 0
        self.damaged = 0  # messages of /clock that are none
        self._messages = MessageWait(node.context, [clock])

    def start(self) -> None:
        """Wait for the simulator's time anew."""
        self._due_ns = self.now_ns = NEVER

    def continue_from(self, before: Any) -> None:
        """The next tick is one period from the other's last one."""
        self.now_ns, self.missed, self.jumped = before.now_ns, before.missed, before.jumped
        self._due_ns = before._due_ns
        if before._due_ns != NEVER:
            self._due_ns += self._period_ns - before._period_ns

    def _sleep(self) -> None:
        """Until a message arrives on one of the subscriptions, at most 50 ms."""
        self._messages.wait(_LONGEST_WAIT_NS)

    def _take_clock(self) -> bool:
        """Read /clock to its newest; True when a message was there. Notes jumps.

        At most as many as a queue holds: a publisher that is faster than this loop reads must not
        keep it here.
        """
        got = False
        for _ in range(MOST_TAKES):
            taken = self._clock.take_raw()
            if taken is None:
                break
            raw, info = taken
            try:
                at = header_stamp_ns(raw)  # a Clock is what a header begins with: its stamp
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
        """Time jumped to `at_ns`, by a message that was received at `wall_ns`, wall time."""

    @property
    def _jump_ns(self) -> int:
        # Above one step of /clock: it may be coarser than the period (a bag's is 25 ms), and a
        # message of it may be lost. Then deadlines are missed, which is counted, and no state is.
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
    """Ticks as /clock passes each deadline. A paused clock: no ticks, and no faults either."""

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
        # What waits in the queues is from the time before; on arrival it would be as good as new.
        for one in self._inputs:
            one.leave_out_before(wall_ns)

    def look(self) -> int:
        """The newest time of /clock [ns]."""
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

    Counting commands changed a trajectory after one stall of 0.25 s; by stamp it is the
    same, idle, stalled and loaded. A stamp that the simulator repeats was not answered in
    its eyes: `repeat` answers once more with what was said.
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
        self._repeat = repeat
        self._stepped_ns = NEVER
        self._messages = MessageWait(node.context, [clock, *(one.polled for one in inputs)])

    def start(self) -> None:
        """Wait for the simulator's time anew."""
        super().start()
        self._stepped_ns = NEVER

    def look(self) -> int:
        """The time of this step [ns]: the simulator waits for its answer."""
        return self.now_ns

    def continue_from(self, before: Any) -> None:
        """As above; a step that was answered stays so."""
        super().continue_from(before)
        self._stepped_ns = before._stepped_ns

    def wait(self) -> int | None:
        """Sleep until the simulator has published one whole step."""
        self._sleep()
        clock_came = self._take_clock()
        for one in self._inputs:
            one.drain(self.now_ns, arrival="stamp")
            if self.jumped:
                # Single joints may still be from a time that has not come yet.
                one.slot.forget_later_than(self.now_ns)
        if self.now_ns == NEVER or any(o.slot.stamp_ns != self.now_ns for o in self._inputs):
            return None
        if self.now_ns == self._stepped_ns:
            if clock_came:
                self._repeat()
            return None
        self._stepped_ns = self.now_ns
        if not self._is_due():
            self._repeat()  # between two ticks: the last command stands
            return None
        return self._next()
