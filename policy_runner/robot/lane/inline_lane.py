"""The lane in the control thread: an inference takes its time there. Also for every replay."""

from __future__ import annotations

import time

from policy_runner.core.lane.interface import LaneEvent, LaneRequest, Tensors
from policy_runner.core.lane.worker import LaneWorker
from policy_runner.core.safety.decision import Fault


class InlineLane:
    """Runs each inference in `start`, on the inputs themselves."""

    kind = "control"

    def __init__(self, worker: LaneWorker, tensors: Tensors) -> None:
        """Use a worker whose inputs are those of the pipeline.

        Args:
            worker: runs the inferences.
            tensors: the built tensors of its policy.
        """
        self._worker = worker
        self._tensors = tensors
        self._events = [LaneEvent("ready")]

    @property
    def tensors(self) -> Tensors:
        """The built tensors."""
        return self._tensors

    def sample(self, now_ns: int) -> None:
        """Let the inputs of now become a past frame."""
        self._worker.push()

    def start(self, request: LaneRequest) -> None:
        """Run the inference; the next `poll` returns its result."""
        if request.fresh:
            self._worker.start_over(True)
        begun_ns = time.perf_counter_ns()
        event = self._worker.infer(request)
        self._events.append(event._replace(took_ns=time.perf_counter_ns() - begun_ns))

    def given(self, now_ns: int, built: bool) -> Fault | None:
        """See `Lane.given`."""
        return self._worker.given(now_ns, built)

    def poll(self) -> LaneEvent | None:
        """Return the next event; None: there is none."""
        return self._events.pop(0) if self._events else None

    def wait(self, timeout_s: float) -> None:
        """Nothing: the result is there."""

    def forget(self) -> None:
        """Drop the past frames."""
        self._worker.start_over(False)

    def give_up(self, why: str) -> None:
        """Nothing is under way; the lane is ready."""
        self._events = [LaneEvent("ready")]

    def retry(self) -> None:
        """Nothing: this lane does not fail."""

    def close(self) -> None:
        """Nothing to end."""
