"""One tick, from the newest inputs to a limited command. Read `Pipeline.step` first.

Pure but for its own state: the time and the clock come in as arguments, nothing is logged,
nothing sleeps; what an operator should know is counted and read by somebody else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from policy_runner.core.action import ActionDecoder, ActionElement
from policy_runner.core.clocks import Clock
from policy_runner.core.command import Command
from policy_runner.core.freshness import Freshness
from policy_runner.core.inputs import InputSlot
from policy_runner.core.joints import NEVER
from policy_runner.core.observation import TensorBuilder
from policy_runner.core.safety import Decision, Fault, Reason, Safety
from policy_runner.core.settings import Settings

Array = npt.NDArray[np.float64]
Buffer = npt.NDArray[np.generic]


class Model(Protocol):
    """What a backend is to the core: named, preallocated tensors, and a run between them."""

    @property
    def inputs(self) -> Mapping[str, Buffer]:
        """Input tensors by name; write in place."""

    @property
    def outputs(self) -> Mapping[str, Buffer]:
        """Output tensors by name; valid until the next run."""

    def run(self) -> None:
        """Compute the outputs from the inputs."""


class Step(NamedTuple):
    """What one tick decided, and when its parts ended, on the clock that was given [ns]."""

    decision: Decision
    command: Array | None  # float64 [elements], in policy joints and units; None: publish nothing
    inferred: bool
    started_ns: int
    observed_ns: int
    inferred_ns: int
    decided_ns: int


class Pipeline:
    """A policy bound to a model's tensors, its state between ticks, and the decision.

    Histories, recurrent state and the last action advance exactly once per inference and
    never on HOLD; `reset` starts them anew.
    """

    def __init__(
        self,
        slots: Mapping[str, InputSlot],
        builders: Sequence[tuple[TensorBuilder, Buffer]],
        states: Sequence[tuple[Buffer, Buffer, Buffer]],
        model: Model,
        decoder: ActionDecoder,
        last_action: tuple[str, Array],
        gravity: Array,
        settings: Settings,
        clock_ns: Callable[[], int],
        clocks: Sequence[Clock] = (),
        previous_target: Array | None = None,
    ) -> None:
        """States are (input, output, initial value); clocks advance once per inference.

        `previous_target` receives the decoder's target where a term reads it.
        """
        self.slots = slots
        self.settings = settings
        self.elements: Sequence[ActionElement] = decoder.elements
        self.safety = Safety()
        self._builders = builders
        self._states = states
        self._model = model
        self._decoder = decoder
        self._last_action_kind, self._last_action = last_action
        self._gravity = gravity
        self._clock_ns = clock_ns
        self._clocks = clocks
        self._previous_target = previous_target
        self._command = Command(decoder.elements)
        self._phase = 0  # ticks since the last inference; one is due at 0
        self._inferred_at_ns = NEVER
        self.inferences = 0

    @property
    def settings(self) -> Settings:
        """What this robot does with the policy; assign between two ticks to change it."""
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._settings = settings
        self._freshness = Freshness(self.slots, settings.inputs)

    @property
    def worst_age_ns(self) -> int:
        """Age of the oldest value that the last step used."""
        return self._freshness.worst_age_ns

    @property
    def limit_hits(self) -> npt.NDArray[np.int64]:
        """How often a limit changed each element's command."""
        return self._command.limit_hits

    def step(self, now_ns: int) -> Step:
        """One tick at `now_ns` on the loop's clock; see `docs/architecture.md` for a walk."""
        clock = self._clock_ns
        started = clock()
        settings = self._settings
        due = self._phase == 0
        # 1. May we? Inputs there and young enough, the observation finite, the robot upright.
        fault = self._freshness.fault(now_ns)
        if fault is None and due:
            fault = self._observe()
        before = self.safety.decision
        decision = self.safety.judge(now_ns, fault, settings)
        observed = inferred = clock()
        # 2. The policy, once every `decimation` ticks; only here does its state advance.
        infer = decision is Decision.RUN and due
        if infer:
            if before is Decision.SAFE_STOP or self._gap_since_inference(now_ns):
                self.reset()
                self._observe()  # the frame still has the last action of before
            fault = self._infer(now_ns)
            inferred = clock()
            if fault is not None:
                decision = self.safety.judge(now_ns, fault, settings)
        # Whatever interrupts RUN, the next RUN begins with an inference, never with a target
        # of before.
        self._phase = (self._phase + 1) % settings.decimation if decision is Decision.RUN else 0
        # 3. The command: the limited target, or the stop that fits the kind of command.
        command = self._decide(decision, infer)
        return Step(decision, command, infer, started, observed, inferred, clock())

    def _gap_since_inference(self, now_ns: int) -> bool:
        last = self._inferred_at_ns
        return last != NEVER and now_ns - last > self._settings.reset_after_ns

    def _observe(self) -> Fault | None:
        for builder, _ in self._builders:
            why = builder.read()
            if why:
                return Fault(Decision.HOLD, Reason.OBSERVATION_NOT_FINITE, f"{builder.name}: {why}")
        limit = self._settings.max_tilt_rad
        if limit:
            # Gravity points along -z when upright; NaN (no such term) compares false.
            tilt = math.acos(max(-1.0, min(1.0, -float(self._gravity[2]))))
            if tilt > limit:
                return Fault(Decision.SAFE_STOP, Reason.TIPPED, f"{math.degrees(tilt):.0f} degrees")
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

    def _decide(self, decision: Decision, inferred: bool) -> Array | None:
        if decision is Decision.RUN:
            command = self._command.follow(self._decoder.target, self._settings.limits)
            if inferred and self._last_action_kind == "limited":
                np.copyto(self._last_action, command)
            return command
        return None if decision is Decision.STARTING else self._command.stop()

    def stop_command(self) -> Array | None:
        """The command that stops; None while there is nothing to hold (see `Command.stop`)."""
        return self._command.stop()

    def reset(self) -> None:
        """Start histories, recurrent state and the last action anew."""
        for builder, _ in self._builders:
            builder.reset()
        for state, _, initial in self._states:
            np.copyto(state, initial)
        for counting in self._clocks:
            counting.reset()
        self._decoder.reset()
        if self._previous_target is not None:
            self._previous_target.fill(0.0)
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

    def time_jumped(self, forget_inputs: bool) -> None:
        """Simulation time went back or leapt: phase, histories and ages mean nothing any more.

        With `forget_inputs` the next run waits for new messages; a latched SAFE_STOP stays.
        """
        self.reset()
        if self.safety.decision is not Decision.SAFE_STOP:
            self.safety.reset()
        if forget_inputs:
            for slot in self.slots.values():
                slot.forget()

    def activate(self) -> None:
        """As if just configured: nothing seen, nothing commanded, nothing latched."""
        self.reset()
        self.safety.reset()
        for slot in self.slots.values():
            slot.forget()
            slot.ages.clear()
        self._command.forget()
