"""A policy bound to a model's tensors: the data that an inference reads, writes and keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from policy_runner.core.command.decoder import ActionDecoder
from policy_runner.core.inputs.joints import NEVER
from policy_runner.core.model import Array, Buffer, Model, StateTensors
from policy_runner.core.observation.tensor_builder import TensorBuilder
from policy_runner.core.observation.terms.counters import Clock
from policy_runner.core.safety.decision import Decision, Fault, Reason
from policy_runner.core.spec import Switch
from policy_runner.core.spec.elements import ActionElement

BuiltTensor = tuple[TensorBuilder, Buffer]  # a builder, and the model's input [builder.size], flat


class PolicyFacts(ABC):
    """What `Policy` and a policy in a lane tell about themselves; a switch tells it differently."""

    decoder: ActionDecoder

    @property
    @abstractmethod
    def every_tensor(self) -> Sequence[BuiltTensor]:
        """The tensors that are built from terms, of all models."""

    @property
    def active(self) -> str:
        """The name of the policy that commands, of a switch; "" without one."""
        return ""

    @property
    def changes(self) -> int:
        """How often a switch changed the policy that commands."""
        return 0

    def runs(self, part: str) -> bool:
        """Whether the newest inference ran the model with this name of `core.spec.parts`."""
        return True

    @property
    def elements(self) -> Sequence[ActionElement]:
        """The elements of the action, in the order of every array [elements]."""
        return self.decoder.elements

    @property
    def observations(self) -> dict[str, tuple[Buffer, list[str]]]:
        """Per built tensor: the model's buffer, flat, and the names of its elements."""
        return observations_of(self.every_tensor)

    @property
    def raw_action(self) -> Array:
        """The model's output of the newest inference, unchanged, float64 [elements]."""
        return self.decoder.raw


class Policy(PolicyFacts):
    """The policy's own part of a tick: observe, infer, and the state between inferences.

    Histories, recurrent state and the last action advance exactly once per inference and
    never on HOLD. `reset` sets them to their start values.

    Attributes:
        tensors: the observation tensors that are built from terms, each with its builder and the
            model's input [builder.size], flat. Constant tensors are not included.
        decoder: computes targets from the model's outputs. Others may read it; only the policy
            may call it.
        inferences: number of inferences.
        inferred_at_ns: time of the newest inference [ns]; NEVER after a reset.
    """

    def __init__(
        self,
        tensors: Sequence[BuiltTensor],
        states: Sequence[StateTensors],
        model: Model,
        decoder: ActionDecoder,
        last_action: tuple[str, Array],
        clocks: Sequence[Clock] = (),
        previous_target: Array | None = None,
    ) -> None:
        """Bind the parts; `build_pipeline` makes them from a spec.

        Args:
            tensors: the observation tensors that are built from terms, see above.
            states: recurrent state. The model carries it if it can, otherwise this class does.
            model: the loaded model; `tensors`, `states` and `decoder` use its arrays.
            decoder: computes targets from the model's outputs, float64 [elements].
            last_action: the spec's `last_action` (raw, clipped, target or limited), and the array
                [elements] from which the `last_action` terms read it.
            clocks: counters of terms; they advance once per inference.
            previous_target: receives the decoder's target [elements]; None: no term reads it.
        """
        self.tensors = tensors
        self.decoder = decoder
        self.inferences = 0
        self.inferred_at_ns = NEVER
        self._model = model
        self._reset_kept = model.keep_states(states) if states else None
        self._states = () if self._reset_kept is not None else states
        self._last_action_kind, self._last_action = last_action
        self._clocks = clocks
        self._previous_target = previous_target

    def observe(self) -> Fault | None:
        """Read every term into its frame. Return the fault of the first unusable frame."""
        for builder, _ in self.tensors:
            why = builder.read()
            if why:
                return Fault(Decision.HOLD, Reason.OBSERVATION_NOT_FINITE, f"{builder.name}: {why}")
        return None

    def infer(self, now_ns: int) -> Fault | None:
        """Build the tensors from the frames that `observe` filled, then `run`."""
        return self.build() or self.run(now_ns)

    def build(self) -> Fault | None:
        """Build the tensors from the frames that `observe` filled.

        If a tensor's type cannot hold one of its elements, this is a fault. Then all past frames
        are dropped, because the frame with that element is one of them.
        """
        for builder, tensor in self.tensors:
            why = builder.advance(tensor)
            if why:
                self.drop_frames()
                text = f"{builder.name}: {why}"
                return Fault(Decision.HOLD, Reason.OBSERVATION_NOT_FINITE, text)
        return None

    def drop_frames(self) -> None:
        """Drop the past frames of every tensor."""
        for builder, _ in self.every_tensor:
            builder.reset()

    def run(self, now_ns: int) -> Fault | None:
        """Run one inference on the model's current inputs. Return the fault of an unusable action.

        After a fault, recurrent states, counters and the last action have not advanced.
        """
        self._model.run()
        if not self.decoder.decode():
            why = self.decoder.fault or "the model's output"
            return Fault(Decision.SAFE_STOP, Reason.ACTION_NOT_FINITE, why)
        for state, following, _ in self._states:
            np.copyto(state, following)
        for counting in self._clocks:
            counting.advance()
        self.inferred_at_ns = now_ns
        self.inferences += 1
        if self._last_action_kind != "limited":
            np.copyto(self._last_action, getattr(self.decoder, self._last_action_kind))
        if self._previous_target is not None:
            np.copyto(self._previous_target, self.decoder.target)
        return None

    def infer_frames(self, now_ns: int) -> Fault | None:
        """Infer from frames that the caller filled in place of `observe`."""
        return self.infer(now_ns)

    def run_given(self, now_ns: int) -> Fault | None:
        """Run one inference on the model's current inputs, which are complete."""
        return self.run(now_ns)

    def commanded(self, command: Array) -> None:
        """Keep the limited command [elements] of the newest inference as the last action.

        Only with `last_action: limited`. For other policies this does nothing: they were not
        trained with it.
        """
        if self._last_action_kind == "limited":
            np.copyto(self._last_action, command)

    def follow(self, switch: Switch) -> Fault | None:
        """Advance what the switch says while another policy commands. No action is decoded."""
        fault = self.build() if switch.history == "advance" else None
        if fault is not None:
            return fault
        if switch.state == "advance":
            self._model.run()
            for kept, following, _ in self._states:
                np.copyto(kept, following)
        if switch.clocks == "advance":
            for counting in self._clocks:
                counting.advance()
        return None

    def enter(self, before: Policy, switch: Switch) -> None:
        """Begin to command in place of `before`, another policy with the same elements.

        The target continues: `previous_target` and `ema` begin with the target of `before`. The
        switch says what happens to histories, states, clocks and the last action.
        """
        if switch.history == "reset":
            self.drop_frames()
        if switch.state == "reset":
            self.reset_states()
        if switch.clocks == "reset":
            for counting in self._clocks:
                counting.reset()
        if switch.last_action == "zeros":
            self._last_action.fill(0.0)
        self.decoder.take_over(before.decoder)
        if self._previous_target is not None:
            np.copyto(self._previous_target, self.decoder.target)

    def carry_last_action(self, active: Policy) -> None:
        """Take the last action of the policy that commanded, of the same kind."""
        np.copyto(self._last_action, active._last_action)

    def reset_states(self) -> None:
        """Set recurrent states to their initial values."""
        for state, _, initial in self._states:
            np.copyto(state, initial)
        if self._reset_kept is not None:
            self._reset_kept()

    def reset(self) -> None:
        """Set histories, recurrent state and the last action to their start values.

        The previous target starts at the decoder's start target, which is the default pose.
        """
        self.drop_frames()
        self.reset_states()
        for counting in self._clocks:
            counting.reset()
        self.decoder.reset()
        if self._previous_target is not None:
            np.copyto(self._previous_target, self.decoder.start)
        self._last_action.fill(0.0)
        self.inferred_at_ns = NEVER

    @property
    def every_tensor(self) -> Sequence[BuiltTensor]:
        """`tensors`, and those of earlier models or of other policies before them."""
        return self.tensors


def observations_of(tensors: Sequence[BuiltTensor]) -> dict[str, tuple[Buffer, list[str]]]:
    """See `Policy.observations`."""
    found = {}
    for builder, tensor in tensors:
        names = builder.elements
        if len(names) != tensor.size:  # stacked frames: the history sets their order
            names = [f"[{k}]" for k in range(tensor.size)]
        found[builder.name] = (tensor, names)
    return found
