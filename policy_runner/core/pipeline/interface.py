"""What a pipeline asks of its policy (one, or several with a switch), and of its recorder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from policy_runner.core.command.decoder import ActionDecoder
from policy_runner.core.model import Array, Buffer
from policy_runner.core.pipeline.policy import BuiltTensor
from policy_runner.core.safety.decision import Decision, Fault
from policy_runner.core.spec.elements import ActionElement


class AnyPolicy(Protocol):
    """See `Policy`, which explains every method. `SwitchedPolicy` has the same."""

    inferences: int

    @property
    def inferred_at_ns(self) -> int:
        """Time of the newest inference [ns]; NEVER after a reset."""

    @property
    def decoder(self) -> ActionDecoder:
        """The decoder of the policy that commands."""

    @property
    def elements(self) -> Sequence[ActionElement]:
        """The elements of the action, in the order of every array [elements]."""

    @property
    def observations(self) -> dict[str, tuple[Buffer, list[str]]]:
        """Per built tensor: the model's buffer, flat, and the names of its elements."""

    @property
    def raw_action(self) -> Array:
        """The model's output of the newest inference, unchanged, float64 [elements]."""

    @property
    def every_tensor(self) -> Sequence[BuiltTensor]:
        """The tensors that are built from terms, of all models."""

    @property
    def active(self) -> str:
        """The name of the policy that commands, of a switch; "" without one."""

    @property
    def changes(self) -> int:
        """How often a switch changed the policy that commands."""

    def runs(self, part: str) -> bool:
        """Whether the newest inference ran the model with this name of `core.spec.parts`."""

    def observe(self) -> Fault | None:
        """Read every term into its frame. Return the fault of the first unusable frame."""

    def infer(self, now_ns: int) -> Fault | None:
        """Build the tensors from the frames that `observe` filled, then run the models."""

    def infer_frames(self, now_ns: int) -> Fault | None:
        """Infer from frames that the caller filled in place of `observe`."""

    def run_given(self, now_ns: int) -> Fault | None:
        """Run one inference on the models' current inputs."""

    def commanded(self, command: Array) -> None:
        """Keep the limited command [elements] of the newest inference as the last action."""

    def reset(self) -> None:
        """Set histories, recurrent state and the last action to their start values."""


class LanedPolicy(Protocol):
    """What a pipeline asks in addition of a policy in a lane; see `ChunkedPolicy`."""

    def prepare(self, now_ns: int, armed: bool) -> Fault | None:
        """Take results, start an inference, and find the action of this tick."""

    @property
    def unfit(self) -> Fault | None:
        """The fault of a lane that cannot infer now: it forbids arming."""

    def decided(self, command: Array | None, decision: Decision) -> None:
        """Learn the command of this tick; None: there is none."""


class PipelineRecorder(Protocol):
    """Records a pipeline: steps in its place, and is told what changes it between two steps."""

    def step(
        self, now_ns: int, outer: Fault | None, look_again: Callable[[bool], int] | None
    ) -> Any:
        """Call `Pipeline.step` and record it."""

    def called(self, method: str) -> None:
        """A method without result is called."""

    def refused(self, now_ns: int, fault: Fault, command: Array | None) -> None:
        """`refuse` returned this command."""

    def ended(self, command: Array | None) -> None:
        """`stop_command` returned this command."""
