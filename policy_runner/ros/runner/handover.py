"""How another thread has the control thread do something: once between two ticks, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable

from policy_runner.core.errors import Refusal
from policy_runner.ros.runner.control_loop import ControlLoop


class Handover:
    """Work that the control thread does once, or that the caller withdraws: never both.

    The caller (a service, a reload) asks and waits for the outcome, for a bounded time. The
    control thread settles the request by `answer` or `carry_out`, and never waits. What was
    withdrawn is not done later.
    """

    def __init__(self, loop: ControlLoop) -> None:
        self.accepted = False
        self.message = ""
        self._loop = loop
        self._settled = threading.Lock()  # the side that takes it decides; it is never released
        self._over = threading.Event()
        self._done_at: int | None = None  # tick

    # --- the caller ---

    def ask(self, work: Callable[[], None], timeout_s: float) -> bool:
        """Have `work` called between two ticks and wait; False: not settled, and withdrawn.

        Args:
            work: called by the control thread. It settles this request by `answer` or
                `carry_out`, or leaves that to something later in the same tick.
            timeout_s: how long to wait until the control thread begins. Work that has begun
                then is waited for, since it cannot be withdrawn any more.
        """
        self._loop.call(work)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the outcome, as `ask` does after it has asked."""
        if self._over.wait(timeout_s):
            return True
        if self._settled.acquire(blocking=False):
            return False
        return self._over.wait()  # it is being done at this moment, which takes microseconds

    def has_ticked(self) -> bool:
        """Whether a whole tick passed since `carry_out` succeeded, or the loop has ended.

        Then the control thread uses nothing any more that the work has replaced.
        """
        ticked = self._done_at is not None and self._loop.ticks > self._done_at
        return ticked or not self._loop.running

    # --- the control thread ---

    def answer(self, accepted: bool, message: str) -> bool:
        """Settle the request by an answer; False if it was withdrawn, so nothing may be done."""
        if not self._settled.acquire(blocking=False):
            return False
        self.accepted, self.message = accepted, message
        self._over.set()
        return True

    def carry_out(self, work: Callable[[], None]) -> None:
        """Do the work unless it was withdrawn; an exception becomes the message of a refusal."""
        if not self._settled.acquire(blocking=False):
            return
        try:
            work()
            self._done_at = self._loop.ticks
            self.accepted = True
        except BaseException as error:  # noqa: BLE001 - the caller hears of it, the loop continues
            self.message = f"{type(error).__name__}: {error}"
        finally:
            self._over.set()


def swap(handover: Handover, take_over: Callable[[], None], timeout_s: float) -> None:
    """Have the control thread continue with another policy, by `take_over`, and wait until it does.

    Raises:
        Refusal: it was not done, and will not be.
    """
    if not handover.ask(lambda: handover.carry_out(take_over), timeout_s):
        within = f"within {timeout_s:g} s, got none (is the simulator paused?)"
        raise Refusal([f"reload: expected a tick of the control loop {within}"])
    if not handover.accepted:
        raise Refusal([f"reload: expected a swap between two ticks, got {handover.message}"])
