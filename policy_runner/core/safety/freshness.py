"""Check on every tick that all inputs are present and recent; find the most severe fault.

The age of an input counts from its arrival. Header stamps are judged separately: the clocks of
real robots are days off, 0, or simulated, and a message that arrives in time is no danger.
"""

from __future__ import annotations

from collections.abc import Mapping

from policy_runner.core.inputs.joints import NEVER
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.safety.decision import Decision, Fault, Reason
from policy_runner.core.settings import Settings


class Freshness:
    """Judges the inputs of one policy by the robot's rules."""

    def __init__(self, slots: Mapping[str, InputSlot], settings: Settings) -> None:
        rules = settings.inputs
        # A text has no age: it is valid until the next one.
        self._texts = [(slot, name) for name, slot in slots.items() if slot.text is not None]
        self._watched = [(s, rules[name], name) for name, s in slots.items() if s.text is None]
        for slot, rule, _ in self._watched:
            slot.newest_stamp_ns = settings.stamp_tolerance_ns
            slot.oldest_stamp_ns = rule.max_age_ns + settings.stamp_tolerance_ns
        self.worst_age_ns = 0  # age of the oldest value at the last call of `fault`

    def fault(self, now_ns: int) -> Fault | None:
        """Return the most severe fault of an input; record the age of every input.

        If several are equally severe, the first one counts.
        """
        first: Fault | None = None
        worst_ns = 0
        for slot, rule, name in self._watched:
            slot.stamp_judged = True
            oldest = slot.oldest_ns
            if oldest == NEVER:
                if rule.on_stale == "zero":
                    zero(slot)
                elif first is None:
                    text = f"{name}: {slot.missing()}"
                    first = Fault(Decision.HOLD, Reason.INPUT_MISSING, text)
                continue
            age = now_ns - oldest
            slot.ages.add(age)
            if age > worst_ns:
                worst_ns = age
            if age > rule.max_age_ns:
                reason, why = Reason.INPUT_STALE, slot.fault or slot.silence
                if not why:
                    joints = slot.older_than(now_ns - rule.max_age_ns)
                    why = f"{joints}{age / 1e9:.3f} s old"
            elif slot.stamp_wrong and rule.strict_stamp:
                reason, why = Reason.STAMP, slot.stamp_fault
            else:
                continue
            if rule.on_stale == "zero":
                zero(slot)
            elif rule.on_stale == "safe_stop":
                if first is None or first.decision is not Decision.SAFE_STOP:
                    first = Fault(Decision.SAFE_STOP, reason, f"{name}: {why}")
            elif first is None:
                first = Fault(Decision.HOLD, reason, f"{name}: {why}")
        self.worst_age_ns = worst_ns
        if self._texts and first is None:
            return self._without_text()
        return first

    def _without_text(self) -> Fault | None:
        for slot, name in self._texts:
            if why := slot.missing():
                return Fault(Decision.HOLD, Reason.INPUT_MISSING, f"{name}: {why}")
        return None


def zero(slot: InputSlot) -> None:
    """Set all values that the policy reads from this input to 0, because the input is silent."""
    for array in slot.arrays.values():
        array.fill(0.0)
    for keeper in slot.keepers.values():
        keeper.zero()
    if slot.joints is not None:
        for array in slot.joints.values.values():
            array.fill(0.0)
