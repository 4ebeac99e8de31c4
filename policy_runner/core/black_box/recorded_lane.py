"""The lane of a replay: it returns the recorded events and runs nothing."""

from __future__ import annotations

from collections.abc import Callable

from policy_runner.core.lane.interface import NOT_HERE, LaneEvent, LaneRequest, Tensors
from policy_runner.core.safety.decision import Fault


class RecordedLane:
    """Returns recorded events in the tick that took them. See `Lane` for the methods.

    Attributes:
        events: of the next tick, oldest first.
    """

    kind = "recorded"

    def __init__(self, newest: Callable[[], int]) -> None:
        """Return nothing yet.

        Args:
            newest: returns the sequence of the newest request. In lockstep the result of a request
                is in the same tick: it must not be there before its request.
        """
        self.events: list[LaneEvent] = []
        self._newest = newest

    @property
    def tensors(self) -> Tensors:
        """None: only results were recorded."""
        return ()

    def sample(self, now_ns: int) -> None:
        """Nothing: the result is recorded."""

    def start(self, request: LaneRequest) -> None:
        """Nothing: the result is recorded."""

    def given(self, now_ns: int, built: bool) -> Fault | None:
        """Nothing: this lane has its own inputs."""
        return NOT_HERE

    def poll(self) -> LaneEvent | None:
        """Return the next recorded event of this tick."""
        if not self.events or self.events[0].sequence > self._newest():
            return None
        return self.events.pop(0)

    def wait(self, timeout_s: float) -> None:
        """Nothing: the events of the tick are there."""

    def forget(self) -> None:
        """Nothing to forget."""

    def give_up(self, why: str) -> None:
        """Nothing: what followed is recorded."""

    def retry(self) -> None:
        """Nothing: what followed is recorded."""

    def close(self) -> None:
        """Nothing to end."""
