"""Several policies of which a rule with a hysteresis selects one at every inference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from policy_runner.core.command.decoder import ActionDecoder
from policy_runner.core.inputs.joints import NEVER
from policy_runner.core.model import Array, Buffer
from policy_runner.core.pipeline.policy import BuiltTensor, Policy, observations_of
from policy_runner.core.safety.decision import Decision, Fault, Reason
from policy_runner.core.spec import Switch
from policy_runner.core.spec.elements import ActionElement


class SwitchRule:
    """Selects by the Euclidean norm of numbers of a message."""

    def __init__(self, switch: Switch, numbers: Sequence[Array]) -> None:
        """Bind the rule.

        Args:
            switch: the thresholds.
            numbers: the numbers of the message, float64, which its slot overwrites.
        """
        self._up = [one.up for one in switch.thresholds]
        self._down = [one.down for one in switch.thresholds]
        self._numbers = numbers

    @property
    def value(self) -> float:
        """The norm of the newest numbers."""
        return math.hypot(*(x for array in self._numbers for x in array.tolist()))

    def select(self, value: float, now: int) -> int:
        """The index of the policy for this value, if the policy `now` commands."""
        while now < len(self._up) and value > self._up[now]:
            now += 1
        while now > 0 and value < self._down[now - 1]:
            now -= 1
        return now


class SwitchedPolicy:
    """Policies with the same elements; one of them commands. See `Policy` for the methods.

    The rule decides at every inference, before the frames are judged. A change takes effect in
    that inference. What the other policies do meanwhile, and what a change resets, says `Switch`.
    """

    def __init__(
        self,
        policies: Mapping[str, Policy],
        paths: Mapping[str, str],
        rule: SwitchRule,
        switch: Switch,
    ) -> None:
        """Join the policies; `build_pipeline` makes them from a spec.

        Args:
            policies: by name, in the order of the thresholds.
            paths: by name, the first half of the names of its models, "" for none.
            rule: selects one of them.
            switch: what a change does.
        """
        self.inferences = 0
        self.inferred_at_ns = NEVER
        self.changes = 0  # between two inferences since the node began
        self._names, self._policies = list(policies), list(policies.values())
        self._paths = [paths[name] for name in self._names]
        self._rule, self._switch = rule, switch
        self._at = self._wanted = 0
        self._observes_all = switch.history == "advance"
        self._carries = switch.last_action == "carry"

    def observe(self) -> Fault | None:
        """Select, then read the frames of the selected policy, and of those that follow it."""
        fault = self._select(self._rule.value)
        for k, policy in enumerate(self._policies):
            if fault is None and (k == self._wanted or self._observes_all):
                fault = policy.observe()
        return fault

    def _select(self, value: float) -> Fault | None:
        if not math.isfinite(value):
            text = f"the switch's value is {value}"
            return Fault(Decision.HOLD, Reason.OBSERVATION_NOT_FINITE, text)
        self._wanted = self._rule.select(value, self._at)
        return None

    def infer(self, now_ns: int) -> Fault | None:
        """Change to the selected policy, let the others follow, and run the inference."""
        if self._change():
            # Its frame holds the last action and the clocks from before the change.
            fault = self._policies[self._at].observe()
            if fault is not None:
                return fault
        return self._infer(now_ns)

    def infer_frames(self, now_ns: int) -> Fault | None:
        """See `Policy.infer_frames`."""
        self._change()
        return self._infer(now_ns)

    def _infer(self, now_ns: int) -> Fault | None:
        for k, policy in enumerate(self._policies):
            fault = None if k == self._at else policy.follow(self._switch)
            if fault is not None:
                return fault
        return self._inferred(self._policies[self._at].infer(now_ns), now_ns)

    def run_given(self, now_ns: int) -> Fault | None:
        """Run the selected policy on the current inputs of its models. The others do not follow."""
        self._change()
        return self._inferred(self._policies[self._at].run_given(now_ns), now_ns)

    def select_by(self, value: float) -> Fault | None:
        """Select by this value instead of the newest message; for recorded tensors and frames."""
        return self._select(value)

    def _change(self) -> bool:
        if self._wanted == self._at:
            return False
        before, self._at = self._policies[self._at], self._wanted
        if self.inferred_at_ns != NEVER:  # after a reset all of them are at their start anyway
            self._policies[self._at].enter(before, self._switch)
            self.changes += 1
        return True

    def _inferred(self, fault: Fault | None, now_ns: int) -> Fault | None:
        if fault is None:
            self.inferred_at_ns = now_ns
            self.inferences += 1
            self._carry()
        return fault

    def _carry(self) -> None:
        if self._carries:
            active = self._policies[self._at]
            for policy in self._policies:
                if policy is not active:
                    policy.carry_last_action(active)

    def commanded(self, command: Array) -> None:
        """See `Policy.commanded`."""
        self._policies[self._at].commanded(command)
        self._carry()

    def reset(self) -> None:
        """Reset every policy. The first one of the list is selected."""
        for policy in self._policies:
            policy.reset()
        self._at = self._wanted = 0
        self.inferred_at_ns = NEVER

    @property
    def decoder(self) -> ActionDecoder:
        """The decoder of the policy that commands."""
        return self._policies[self._at].decoder

    @property
    def active(self) -> str:
        """The name of the policy that commands."""
        return self._names[self._at]

    def runs(self, part: str) -> bool:
        """See `Policy.runs`. Models of other policies count as not run, even if they follow."""
        path = self._paths[self._at]
        own = part == path or (part.startswith(f"{path}/") if path else self._is_of_first(part))
        return own and self._policies[self._at].runs(part)

    def _is_of_first(self, part: str) -> bool:
        return not any(part == path or part.startswith(f"{path}/") for path in self._paths if path)

    @property
    def elements(self) -> Sequence[ActionElement]:
        """The elements of the action, in the order of every array [elements]."""
        return self._policies[0].elements

    @property
    def every_tensor(self) -> Sequence[BuiltTensor]:
        """The tensors of all policies."""
        return [tensor for policy in self._policies for tensor in policy.every_tensor]

    @property
    def observations(self) -> dict[str, tuple[Buffer, list[str]]]:
        """See `Policy.observations`."""
        return observations_of(self.every_tensor)

    @property
    def raw_action(self) -> Array:
        """See `Policy.raw_action`."""
        return self.decoder.raw
