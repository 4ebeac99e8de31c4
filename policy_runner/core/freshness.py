"""Are the inputs there, and young enough? Their ages on every tick, and the gravest fault."""

from __future__ import annotations

from collections.abc import Mapping

from policy_runner.core.inputs import InputSlot
from policy_runner.core.joints import NEVER
from policy_runner.core.safety import Decision, Fault, Reason
from policy_runner.core.settings import InputRule


class Freshness:
    """Judges the inputs of one policy by the robot's rules for them."""

    def __init__(self, slots: Mapping[str, InputSlot], rules: Mapping[str, InputRule]) -> None:
        self._watched = [(slot, rules[name], name) for name, slot in slots.items()]
        self.worst_age_ns = 0  # of the oldest value at the last judgement

    def fault(self, now_ns: int) -> Fault | None:
        """The gravest fault of an input, of equals the first; notes every input's age."""
        first: Fault | None = None
        worst_ns = 0
        for slot, rule, name in self._watched:
            oldest = slot.oldest_ns
            if oldest == NEVER:
                if rule.on_stale == "zero":
                    zero(slot)
                elif first is None:
                    first = Fault(Decision.HOLD, Reason.INPUT_MISSING, f"{name}: {slot.missing()}")
                continue
            age = now_ns - oldest
            slot.ages.add(age)
            if age > worst_ns:
                worst_ns = age
            if age > rule.max_age_ns:
                if rule.on_stale == "zero":
                    zero(slot)
                elif rule.on_stale == "safe_stop":
                    if first is None or first.decision is not Decision.SAFE_STOP:
                        first = _stale(Decision.SAFE_STOP, slot, age)
                elif first is None:
                    first = _stale(Decision.HOLD, slot, age)
        self.worst_age_ns = worst_ns
        return first


def _stale(decision: Decision, slot: InputSlot, age_ns: int) -> Fault:
    why = slot.fault or f"{age_ns / 1e9:.3f} s old"
    return Fault(decision, Reason.INPUT_STALE, f"{slot.name}: {why}")


def zero(slot: InputSlot) -> None:
    """All that the policy reads of this input becomes 0: a command that fell silent."""
    for array in slot.arrays.values():
        array.fill(0.0)
    for taker in slot.takers.values():
        taker.zero()
    if slot.joints is not None:
        for array in slot.joints.values.values():
            array.fill(0.0)
