"""The one moment in which the control thread goes on with another policy; see `reload_attempt`."""

from __future__ import annotations

import threading
from collections.abc import Callable

from policy_runner.core.errors import Refusal
from policy_runner.ros.runner.control_loop import ControlLoop


class Swap:
    """Made once by the control thread, or withdrawn by who asked for it: never both."""

    def __init__(self, loop: ControlLoop, take_over: Callable[[], None]) -> None:
        self._loop = loop
        self._take_over = take_over
        self._settled = threading.Lock()  # taken by who decides, never given back
        self._over = threading.Event()
        self._made_at: int | None = None  # tick
        self._error: BaseException | None = None

    def make(self, timeout_s: float) -> None:
        """Have it made between two ticks, and wait until it is.

        Raises:
            Refusal: it was not made, and will not be.
        """
        self._loop.call(self._run)
        if not self._over.wait(timeout_s):
            if self._settled.acquire(blocking=False):
                raise Refusal([
                    f"reload: expected a tick of the control loop within {timeout_s:g} s, "
                    "got none (is the simulator paused?)"
                ])  # fmt: skip
            self._over.wait()  # it is being made in this very moment, which takes microseconds
        if self._made_at is None:
            text = f"{type(self._error).__name__}: {self._error}"
            raise Refusal([f"reload: expected a swap between two ticks, got {text}"])

    def _run(self) -> None:
        if not self._settled.acquire(blocking=False):
            return
        try:
            self._take_over()
            self._made_at = self._loop.ticks
        except BaseException as error:  # noqa: BLE001 - the old policy goes on whatever it was
            self._error = error
        finally:
            self._over.set()

    def has_ticked(self) -> bool:
        """Whether the new policy has done a whole tick: nobody is within the old one any more."""
        ticked = self._made_at is not None and self._loop.ticks > self._made_at
        return ticked or not self._loop.running


class Question:
    """Answered once by the control thread, or withdrawn by who asked: never both."""

    def __init__(self) -> None:
        self.accepted = False
        self.message = ""
        self._settled = threading.Lock()
        self._answered = threading.Event()

    def answer(self, accepted: bool, message: str) -> bool:
        """Whether the one who asked still wants it; never waits."""
        if not self._settled.acquire(blocking=False):
            return False
        self.accepted, self.message = accepted, message
        self._answered.set()
        return True

    def wait(self, timeout_s: float) -> bool:
        """Whether there is an answer; without one the question is withdrawn."""
        if self._answered.wait(timeout_s):
            return True
        # If that fails, the answer is being written in this very moment.
        return not self._settled.acquire(blocking=False) and self._answered.wait(timeout_s)
