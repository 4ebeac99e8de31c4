"""Requests from other threads to the control thread: done once between two ticks, or never."""

from __future__ import annotations

import threading
from collections.abc import Callable

from policy_runner.core.errors import Refusal
from policy_runner.ros.runner.control_loop import ControlLoop


class Handover:
    """A request that the control thread carries out once, or that the caller withdraws.

    The caller (a service, a reload) asks and waits for the outcome, for a bounded time. The
    control thread settles the request by `answer` or `carry_out`, and never waits. A withdrawn
    request is not carried out later.
    """

    def __init__(self, loop: ControlLoop) -> None:
        """Create a request to the control thread of `loop`; `ask` sends it."""
        self.accepted = False
        self.message = ""
        self._loop = loop
        self._settled = threading.Lock()  # the thread that takes it decides; never released
        self._over = threading.Event()
        self._done_at: int | None = None  # number of the tick

    # --- the caller ---

    def ask(self, work: Callable[[], None], timeout_s: float) -> bool:
        """Have `work` called between two ticks and wait; False: withdrawn without an outcome.

        Args:
            work: called by the control thread. It settles this request by `answer` or
                `carry_out`, or leaves that to a later part of the same tick.
            timeout_s: how long to wait until the control thread begins. This call waits for work
                that has begun by then, because it cannot be withdrawn any more.
        """
        self._loop.call(work)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the outcome, like the second half of `ask`; False: withdrawn."""
        if self._over.wait(timeout_s):
            return True
        if self._settled.acquire(blocking=False):
            return False
        return self._over.wait()  # the control thread is working on it, for microseconds

    def has_ticked(self) -> bool:
        """Whether a whole tick has passed since `carry_out` succeeded, or the loop has ended.

        Then the control thread no longer uses the objects that the work has replaced.
        """
        ticked = self._done_at is not None and self._loop.ticks > self._done_at
        return ticked or not self._loop.running

    # --- the control thread ---

    def answer(self, accepted: bool, message: str) -> bool:
        """Settle the request by an answer; False: it was withdrawn and must not be carried out."""
        if not self._settled.acquire(blocking=False):
            return False
        self.accepted, self.message = accepted, message
        self._over.set()
        return True

    def carry_out(self, work: Callable[[], None]) -> None:
        """Do `work` unless the request was withdrawn; an exception becomes a refusal's message."""
        if not self._settled.acquire(blocking=False):
            return
        try:
            work()
            self._done_at = self._loop.ticks
            self.accepted = True
        except BaseException as error:  # noqa: BLE001 - report it to the caller; the loop continues
            self.message = f"{type(error).__name__}: {error}"
        finally:
            self._over.set()


def swap(handover: Handover, take_over: Callable[[], None], timeout_s: float) -> None:
    """Let the control thread continue with another policy, and wait until it does.

    Args:
        handover: a new request.
        take_over: switches the loop to the other policy; called by the control thread.
        timeout_s: how long to wait until the control thread begins.

    Raises:
        Refusal: the switch was not done, and will not be done later.
    """
    if not handover.ask(lambda: handover.carry_out(take_over), timeout_s):
        within = f"within {timeout_s:g} s, got none (is the simulator paused?)"
        raise Refusal([f"reload: expected a tick of the control loop {within}"])
    if not handover.accepted:
        raise Refusal([f"reload: expected a swap between two ticks, got {handover.message}"])
