"""The lane of a replay: it returns the recorded events and runs nothing."""

from __future__ import annotations

from policy_runner.core.lane.interface import NOT_HERE, LaneEvent, LaneRequest, Tensors
from policy_runner.core.safety.decision import Fault


class RecordedLane:
    """Returns recorded events in the tick that took them. See `Lane` for the methods.

    Attributes:
        events: of the next tick, oldest first.
    """

    kind = "recorded"

    def __init__(self) -> None:
        self.events: list[LaneEvent] = []

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
        return self.events.pop(0) if self.events else None

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
