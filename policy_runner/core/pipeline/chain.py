"""A policy with models that run before its `model`, such as an encoder of the history.

One inference runs them in the order of the spec, each at its own rate, in the same tick. Between
two runs the outputs of a model stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from policy_runner.core.model import Buffer, Model, StateTensors
from policy_runner.core.observation.tensor_builder import TensorBuilder
from policy_runner.core.observation.terms.counters import Clock
from policy_runner.core.pipeline.policy import BuiltTensor, Policy
from policy_runner.core.safety.decision import Decision, Fault, Reason
from policy_runner.core.spec import Switch


class EarlierStage:
    """One of the models that run before `model`."""

    def __init__(
        self,
        name: str,
        model: Model,
        every: int,
        tensors: Sequence[BuiltTensor],
        states: Sequence[StateTensors],
        read: Sequence[Buffer],
    ) -> None:
        """Bind the parts; `build_pipeline` makes them from a spec.

        Args:
            name: of the model, for faults.
            model: the loaded model.
            every: inferences per run.
            tensors: its observation tensors that are built from terms.
            states: its recurrent states. The model carries them if it can.
            read: its outputs that terms of other models read.
        """
        self.name, self.model, self.every = name, model, every
        self.tensors = tensors
        self._reset_kept = model.keep_states(states) if states else None
        self._states = () if self._reset_kept is not None else states
        floats = [output.reshape(-1) for output in read if output.dtype.kind == "f"]
        self._checked: list[tuple[Any, Any]] = [(flat, np.zeros_like(flat)) for flat in floats]

    def run(self) -> Fault | None:
        """Run the model; return the fault of an output that is not finite."""
        self.model.run()
        for output, zeros in self._checked:
            # The product is 0 exactly when every element is finite.
            if output.dot(zeros) != 0.0:
                text = f"the output of the model '{self.name}'"
                return Fault(Decision.SAFE_STOP, Reason.ACTION_NOT_FINITE, text)
        return None

    def carry_states(self) -> None:
        """The states of this run become those of the next one."""
        for state, following, _ in self._states:
            np.copyto(state, following)

    def reset_states(self) -> None:
        """Set recurrent states to their initial values."""
        for state, _, initial in self._states:
            np.copyto(state, initial)
        if self._reset_kept is not None:
            self._reset_kept()


class ChainPolicy(Policy):
    """A policy with earlier models. See `Policy` for what advances when."""

    def __init__(
        self,
        stages: Sequence[EarlierStage],
        linked: Sequence[TensorBuilder],
        previous: Sequence[Clock],
        *parts: Any,
        **more: Any,
    ) -> None:
        """Bind the parts.

        Args:
            stages: the earlier models in the order of their runs.
            linked: builders of tensors whose terms are outputs of models only.
            previous: values that terms keep from the previous inference.
            parts: as of `Policy`.
            more: as of `Policy`.
        """
        super().__init__(*parts, **more)
        self._stages = stages
        self._linked = {id(builder) for builder in linked}
        self._previous = previous
        self._count = 0  # inferences since the reset
        self._runs_earlier = True  # False: `build` only lets histories advance
        self._ran: set[str] = set()  # names of the earlier models that the newest inference ran

    @property
    def every_tensor(self) -> Sequence[BuiltTensor]:
        """The tensors of the earlier models, then those of `model`."""
        earlier = [tensor for stage in self._stages for tensor in stage.tensors]
        return [*earlier, *self.tensors]

    def observe(self) -> Fault | None:
        """Read every term into its frame. Return the fault of the first unusable frame.

        Frames of a model that does not run in this inference are left out if they have no history.
        """
        for stage in self._stages:
            due = self._is_due(stage)
            for builder, _ in stage.tensors:
                why = builder.read() if due or builder.has_history else ""
                if why:
                    return _unusable(builder, why)
        return super().observe()

    def build(self) -> Fault | None:
        """Build the tensors, and run the earlier models that are due."""
        self._ran.clear()
        for stage in self._stages:
            due = self._is_due(stage)
            fault = self._advance(stage.tensors, due)
            if fault is None and due and self._runs_earlier:
                fault = stage.run()
                self._ran.add(stage.name)
            if fault is not None:
                return fault
        return self._advance(self.tensors, True)

    def run(self, now_ns: int) -> Fault | None:
        """Run `model` on its current inputs; then all states advance. See `Policy.run`."""
        fault = super().run(now_ns)
        if fault is None:
            self._carry()
        return fault

    def run_given(self, now_ns: int) -> Fault | None:
        """Run every model on its current inputs. Only inputs that are outputs are built."""
        self._ran.clear()
        for stage in self._stages:
            fault = self._advance_linked(stage.tensors)
            if fault is None and self._is_due(stage):
                fault = stage.run()
                self._ran.add(stage.name)
            if fault is not None:
                return fault
        return self._advance_linked(self.tensors) or self.run(now_ns)

    def follow(self, switch: Switch) -> Fault | None:
        """See `Policy.follow`."""
        self._runs_earlier = switch.state == "advance"
        try:
            fault = super().follow(switch)
        finally:
            self._runs_earlier = True
        if fault is None and switch.state == "advance":
            self._carry()
        return fault

    def enter(self, before: Policy, switch: Switch) -> None:
        """See `Policy.enter`. Outputs that are too old are computed at once."""
        super().enter(before, switch)
        if switch.state != "advance":
            self._count = 0

    def reset_states(self) -> None:
        """Set recurrent states to their initial values. The next inference runs every model."""
        super().reset_states()
        for stage in self._stages:
            stage.reset_states()
        for kept in self._previous:
            kept.reset()
        self._count = 0

    def runs(self, part: str) -> bool:
        """See `Policy.runs`."""
        return part in self._ran or not any(stage.name == part for stage in self._stages)

    def _is_due(self, stage: EarlierStage) -> bool:
        return self._count % stage.every == 0

    def _carry(self) -> None:
        for stage in self._stages:
            if stage.name in self._ran:
                stage.carry_states()
        for kept in self._previous:
            kept.advance()
        self._count += 1

    def _advance(self, tensors: Sequence[BuiltTensor], due: bool) -> Fault | None:
        for builder, tensor in tensors:
            if not due and not builder.has_history:
                continue
            if builder.reads_outputs:
                builder.read_outputs()
            why = builder.advance(tensor)
            if why:
                self.drop_frames()
                return _unusable(builder, why)
        return None

    def _advance_linked(self, tensors: Sequence[BuiltTensor]) -> Fault | None:
        linked = [one for one in tensors if id(one[0]) in self._linked]
        for builder, _ in linked:
            builder.read()
        return self._advance(linked, True)


def _unusable(builder: TensorBuilder, why: str) -> Fault:
    return Fault(Decision.HOLD, Reason.OBSERVATION_NOT_FINITE, f"{builder.name}: {why}")
