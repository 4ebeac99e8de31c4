"""What the control thread asks of an inference lane, and what the lane answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from policy_runner.core.model import Array, Buffer
from policy_runner.core.observation.tensor_builder import TensorBuilder
from policy_runner.core.safety.decision import Decision, Fault, Reason

LANES = ("auto", "control", "thread", "process")
STARTS = ("when_free", "every", "at_remaining")
Tensors = Sequence[tuple[TensorBuilder, Buffer]]  # builders, and the model's inputs


NOT_HERE = Fault(Decision.HOLD, Reason.NO_ACTION, "only the lane in this thread has the tensors")


class LaneRequest(NamedTuple):
    """One inference: its observation is the lane's inputs at the moment of the request."""

    sequence: int  # of the request; the result has the same
    observed_ns: int  # on the loop's clock
    latency_ns: int  # the latency to expect, from the newest inferences
    fresh: bool  # recurrent states and counters begin at their start values


class LaneEvent(NamedTuple):
    """What a lane reports: `ready` to infer, a `result`, or that it `failed`."""

    kind: Literal["ready", "result", "failed"]
    sequence: int = 0  # of the request, for a result
    rows: Array | None = None  # float64 [rows, elements]; None: the inference had a fault
    why: str = ""  # the fault or failure, in words
    of_action: bool = False  # the fault is the model's output, not the observation
    took_ns: int = 0  # duration of the inference in the lane


class Lane(Protocol):
    """Runs inferences for the control thread, which never waits for it.

    Every method except `close` is called by the control thread. One request is under way at most.
    """

    kind: str  # control, thread or process

    @property
    def tensors(self) -> Tensors:
        """The built tensors, if they are in this thread; else none."""

    def sample(self, now_ns: int) -> None:
        """Keep the inputs of now as a past frame of the histories."""

    def start(self, request: LaneRequest) -> None:
        """Begin an inference on the inputs of now. Never waits."""

    def given(self, now_ns: int, built: bool) -> Fault | None:
        """Run one inference at once on given frames, or on `built` tensors; only offline."""

    def poll(self) -> LaneEvent | None:
        """Return the next event; None: none has arrived. Never waits."""

    def wait(self, timeout_s: float) -> None:
        """Wait for an event, for lockstep only: there the simulator waits as well."""

    def forget(self) -> None:
        """Drop the past frames of the histories."""

    def give_up(self, why: str) -> None:
        """Abandon the inference under way. An event `ready` follows when the lane is usable."""

    def retry(self) -> None:
        """Try again at once if the lane has failed: the operator asks for it."""

    def close(self) -> None:
        """End the lane. No method may be called afterwards."""


class Infers(Protocol):
    """What a worker asks of its policy; `core.pipeline.policy.Policy` explains the methods."""

    @property
    def every_tensor(self) -> Tensors:
        """The tensors that are built from terms."""

    def observe(self) -> Fault | None:
        """Read every term into its frame."""

    def build(self) -> Fault | None:
        """Build the tensors; the histories advance."""

    def run(self, now_ns: int) -> Fault | None:
        """Run the models and decode."""

    def drop_frames(self) -> None:
        """Drop the past frames."""

    def reset(self) -> None:
        """Set every state to its start value."""


@dataclass(frozen=True)
class LaneRules:
    """When an inference starts, and when its result counts.

    Attributes:
        start: when_free: as soon as the lane is free; every: `every_ns` after the start before;
            at_remaining: when the rest of the newest chunk is at most `remaining_ns`.
        every_ns: shortest time between two starts [ns]; 0: none.
        remaining_ns: see `start` [ns].
        simulated_latency_ns: a result counts no earlier than this after its observation [ns].
        timeout_ns: without a result for longer, the inference hangs [ns].
        tolerance_ns: largest difference of age between two inputs of one observation [ns];
            0: any.
        reset_after_ns: after a longer interruption the policy starts over [ns].
        frame_ns: time between two frames of the histories [ns]; 0: no history.
        lead_ns: a chunk becomes a trajectory that begins so much later [ns]; 0: one command per
            tick.
        waits_s: in lockstep, the longest wait for a result that counts now [s]; 0: never wait.
    """

    start: str = "when_free"
    every_ns: int = 0
    remaining_ns: int = 0
    simulated_latency_ns: int = 0
    timeout_ns: int = 2_000_000_000
    tolerance_ns: int = 0
    reset_after_ns: int = 500_000_000
    frame_ns: int = 0
    waits_s: float = 0.0
    lead_ns: int = 0
