"""A policy bound to a model's tensors: what an inference reads, writes and remembers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from policy_runner.core.command.decoder import ActionDecoder
from policy_runner.core.inputs.joints import NEVER
from policy_runner.core.model import Array, Buffer, Model
from policy_runner.core.observation.tensor_builder import TensorBuilder
from policy_runner.core.observation.terms.counters import Clock
from policy_runner.core.safety.decision import Decision, Fault, Reason
from policy_runner.core.spec.elements import ActionElement


class BoundPolicy:
    """The policy's own part of a tick: observe, infer, and the state between inferences.

    Histories, recurrent state and the last action advance exactly once per inference and
    never on HOLD; `reset` starts them anew.
    """

    def __init__(
        self,
        builders: Sequence[tuple[TensorBuilder, Buffer]],
        states: Sequence[tuple[Buffer, Buffer, Buffer]],
        model: Model,
        decoder: ActionDecoder,
        last_action: tuple[str, Array],
        clocks: Sequence[Clock] = (),
        previous_target: Array | None = None,
    ) -> None:
        """States are (input, output, initial value); clocks advance once per inference.

        `previous_target` receives the decoder's target where a term reads it.
        """
        self.elements: Sequence[ActionElement] = decoder.elements
        self._builders = builders
        keep = getattr(model, "keep_states", None)
        self._reset_kept = keep(states) if keep is not None and states else None
        self._states = () if self._reset_kept is not None else states
        self._model = model
        self._decoder = decoder
        self._last_action_kind, self._last_action = last_action
        self._clocks = clocks
        self._previous_target = previous_target
        self._phase = 0  # ticks since the last inference; one is due at 0
        self._inferred_at_ns = NEVER
        self.inferences = 0

    def _observe(self) -> Fault | None:
        for builder, _ in self._builders:
            why = builder.read()
            if why:
                return Fault(Decision.HOLD, Reason.OBSERVATION_NOT_FINITE, f"{builder.name}: {why}")
        return None

    def _infer(self, now_ns: int) -> Fault | None:
        for builder, tensor in self._builders:
            builder.advance(tensor)
        self._model.run()
        if not self._decoder.decode():
            return Fault(Decision.SAFE_STOP, Reason.ACTION_NOT_FINITE, "the model's output")
        for state, following, _ in self._states:
            np.copyto(state, following)
        for counting in self._clocks:
            counting.advance()
        self._inferred_at_ns = now_ns
        self.inferences += 1
        if self._last_action_kind != "limited":
            np.copyto(self._last_action, getattr(self._decoder, self._last_action_kind))
        if self._previous_target is not None:
            np.copyto(self._previous_target, self._decoder.target)
        return None

    def reset(self) -> None:
        """Start histories, recurrent state and the last action anew.

        The previous target starts where the action's own does: at the default pose.
        """
        for builder, _ in self._builders:
            builder.reset()
        for state, _, initial in self._states:
            np.copyto(state, initial)
        if self._reset_kept is not None:
            self._reset_kept()
        for counting in self._clocks:
            counting.reset()
        self._decoder.reset()
        if self._previous_target is not None:
            np.copyto(self._previous_target, self._decoder.start)
        self._last_action.fill(0.0)
        self._inferred_at_ns = NEVER
        self._phase = 0

    @property
    def observations(self) -> dict[str, tuple[Buffer, list[str]]]:
        """Per built tensor: the model's buffer, flat, and the names of its elements."""
        found = {}
        for builder, tensor in self._builders:
            names = builder.elements
            if len(names) != tensor.size:  # stacked: which frame is where is the history's order
                names = [f"[{k}]" for k in range(tensor.size)]
            found[str(builder.name)] = (tensor, names)
        return found

    @property
    def raw_action(self) -> Array:
        """The model's output of the newest inference, float64 [elements], before any arithmetic."""
        return self._decoder.raw
