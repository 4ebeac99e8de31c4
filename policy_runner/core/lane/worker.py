"""Runs one inference on snapshots of the inputs: the part of a lane that does the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from policy_runner.core.lane.interface import Infers, LaneEvent, LaneRequest
from policy_runner.core.lane.snapshot import Snapshot, SnapshotLayout
from policy_runner.core.model import Array, InferenceFailed
from policy_runner.core.safety.decision import Decision, Fault, Reason

Begin = Callable[[LaneRequest], None]  # called before the models run
# Returns the decoded action, float64 [rows, elements], or why it is not usable.
Decode = Callable[[], "Array | str"]


class LaneWorker:
    """A policy with inputs of its own, which the snapshots of the control thread fill.

    Attributes:
        layout: of the snapshots.
        depth: how many frames an inference needs, the newest included.
        shape: most rows and elements of a result.
    """

    def __init__(
        self,
        policy: Infers,
        layout: SnapshotLayout,
        begin: Begin,
        decode: Decode,
        shape: tuple[int, int],
    ) -> None:
        """Bind the parts; `build_pipeline` makes them from a spec."""
        self.layout = layout
        self.depth = depth_of(policy)
        self.shape = shape
        self._policy = policy
        self._begin, self._decode = begin, decode

    def run(self, request: LaneRequest, frames: Sequence[Snapshot]) -> LaneEvent:
        """Run one inference.

        Args:
            request: what to run.
            frames: the past frames of the histories, oldest first, and the observation.
        """
        policy, layout = self._policy, self.layout
        # inf and NaN are judged, not warned about; the setting belongs to the calling thread.
        with np.errstate(all="ignore"):
            if request.fresh:
                policy.reset()
            if self.depth > 1:
                policy.drop_frames()
                for frame in frames[:-1]:
                    layout.give(frame)
                    if policy.observe() is None:
                        policy.build()
            layout.give(frames[-1])
            return self.infer(request)

    def infer(self, request: LaneRequest) -> LaneEvent:
        """Run one inference on the inputs as they are."""
        policy = self._policy
        fault = policy.observe() or policy.build()
        if fault is not None:
            return LaneEvent("result", request.sequence, None, fault.detail)
        self._begin(request)
        try:
            fault = policy.run(request.observed_ns)
        except InferenceFailed as error:
            return LaneEvent("result", request.sequence, None, str(error))
        if fault is not None:
            return LaneEvent("result", request.sequence, None, fault.detail, True)
        rows = self._decode()
        if isinstance(rows, str):
            return LaneEvent("result", request.sequence, None, rows, True)
        return LaneEvent("result", request.sequence, rows)

    def given(self, now_ns: int, built: bool) -> Fault | None:
        """Run one inference on frames that the caller filled, or on `built` tensors."""
        policy = self._policy
        fault = None if built else policy.build()
        self._begin(LaneRequest(0, now_ns, 0, False))
        try:
            return fault or policy.run(now_ns)
        except InferenceFailed as error:
            return Fault(Decision.HOLD, Reason.INFERENCE_FAILED, str(error))

    def push(self) -> None:
        """Let the inputs as they are become a past frame of the histories."""
        if self._policy.observe() is None:
            self._policy.build()

    def start_over(self, everything: bool) -> None:
        """Drop the past frames; with `everything` also recurrent states and counters."""
        if everything:
            self._policy.reset()
        else:
            self._policy.drop_frames()


def depth_of(policy: Infers) -> int:
    """The most frames that a tensor of the policy is made of."""
    return max((builder.depth for builder, _ in policy.every_tensor), default=1)
