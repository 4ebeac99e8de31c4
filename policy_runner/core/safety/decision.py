"""Make a decision every tick, with its reason. HOLD recovers by itself, SAFE_STOP latches."""

from __future__ import annotations

import enum
from collections import deque
from typing import NamedTuple

from policy_runner.core.settings import Settings


class Decision(enum.Enum):
    """The decision of a tick: publish nothing, the policy's command, or the configured stop."""

    STARTING = "STARTING"
    RUN = "RUN"
    HOLD = "HOLD"
    SAFE_STOP = "SAFE_STOP"


class Reason(enum.Enum):
    """Why the decision of a tick is not RUN."""

    NONE = "none"
    INPUT_MISSING = "input never seen"
    INPUT_STALE = "input too old"
    STAMP = "header stamp"
    OBSERVATION_NOT_FINITE = "observation not usable"
    ACTION_NOT_FINITE = "action not finite"
    TIPPED = "robot tipped"
    JOINT_OUTSIDE = "joint outside its limits"
    JOINT_TOO_FAST = "joint too fast"
    INFERENCE_LATE = "inference late"
    DEADLINES_MISSED = "deadlines missed in a row"
    EXECUTOR_SILENT = "executor silent"
    CALLBACKS_FAILING = "callbacks failing"
    HELD_TOO_LONG = "held too long"
    NOT_ARMED = "not armed"
    DISARMED = "disarmed"
    OPERATOR_STOP = "operator stop"
    SECOND_COMMANDER = "second commander"
    MOVING = "moving to the start pose"
    GUARD_MISSING = "no guard"
    GUARD_ACTED = "guard stopped the outputs"
    COMMAND_REFUSED = "command not finite or beyond its bounds"
    COMMAND_TOO_OLD = "command too old"
    NO_ACTION = "no fresh action"
    INFERENCE_FAILED = "inference failed"
    LOOP_FAILED = "control thread failed"


class Fault(NamedTuple):
    """A reason not to run in this tick, and the decision that it asks for."""

    decision: Decision
    reason: Reason
    detail: str = ""

    def more_severe_than(self, other: Fault) -> bool:
        """Whether this fault asks for SAFE_STOP and the other does not."""
        return self.decision is Decision.SAFE_STOP and other.decision is not Decision.SAFE_STOP


class Change(NamedTuple):
    """The decision or its reason changed; for the log."""

    before: Decision | None  # None: the first one since activation
    before_reason: Reason
    decision: Decision
    reason: Reason
    detail: str


_KEPT_CHANGES = 256


class Safety:
    """The safety state between ticks: the latched stop, and the times of HOLD and recovery."""

    def __init__(self) -> None:
        self.holds = 0
        self.safe_stops = 0
        self.decision = Decision.STARTING
        self.reason = Reason.INPUT_MISSING
        self.detail = ""
        self.armed = True  # False: STARTING continues until ~/arm is called
        # The newest changes, which the executor takes for the log, and the count of all changes.
        self.changes: deque[Change] = deque(maxlen=_KEPT_CHANGES)
        self.changed = 0
        self._told: tuple[Decision | None, Reason] = (None, Reason.NONE)
        self._held_since_ns = 0
        self._well_since_ns: int | None = None
        self._armed_again = False
        self._stopped_by_operator = False  # only ~/arm releases this SAFE_STOP
        self._recovers = False  # any other SAFE_STOP ends by itself
        self._failed = False  # the control thread has crashed or hangs

    def activate(self, armed: bool) -> None:
        """Return to STARTING with nothing latched.

        Args:
            armed: RUN does not need ~/arm.
        """
        self._failed = False
        self.reset()
        self.armed = armed
        self._told = (None, Reason.NONE)

    def reset(self) -> None:
        """Return to STARTING with nothing latched. Keep the armed state.

        Called after a clock jump.
        """
        self.decision, self.reason, self.detail = Decision.STARTING, Reason.INPUT_MISSING, ""
        self._well_since_ns = None
        self._armed_again = self._stopped_by_operator = False

    def time_jumped(self) -> None:
        """Reset after a clock jump. A latched SAFE_STOP stays; its recovery time starts again."""
        if self.decision is Decision.SAFE_STOP:
            self._well_since_ns = None
        else:
            self.reset()

    @property
    def is_armed(self) -> bool:
        """Whether RUN is possible without another ~/arm."""
        if self.decision is not Decision.SAFE_STOP:
            return self.armed
        return self._armed_again or (self._recovers and not self._stopped_by_operator)

    def arm(self) -> None:
        """Release a latched SAFE_STOP. During a fault it stays latched and needs another ~/arm.

        The request is not remembered: the robot would start by itself as soon as it is repaired.
        """
        self.armed = self._armed_again = True

    def disarm(self) -> None:
        """Stop until ~/arm is called."""
        self.armed = False
        if self.decision is Decision.STARTING:
            self._set(Decision.STARTING, Reason.NOT_ARMED, _ARM)
        elif self.reason is not Reason.OPERATOR_STOP:
            self._set(Decision.SAFE_STOP, Reason.DISARMED, _ARM)
            self._stopped_by_operator = True
        self._armed_again = False

    def fail(self, detail: str) -> None:
        """SAFE_STOP until the next activation, because the control thread has crashed or hangs.

        Args:
            detail: the failure in words, for the operator.
        """
        self._set(Decision.SAFE_STOP, Reason.LOOP_FAILED, detail)
        self._failed = True

    def judge(self, now_ns: int, fault: Fault | None, settings: Settings) -> Decision:
        """Return the decision of this tick.

        Args:
            now_ns: on the loop's clock.
            fault: the most severe fault of this tick; None: RUN is possible.
            settings: the robot's rules.
        """
        self._recovers = settings.recover == "auto"
        if self._failed:
            return self.decision
        if fault is not None:
            self._well_since_ns = None
            return self._refuse(now_ns, fault, settings)
        if self.decision is Decision.STARTING and not self.armed:
            return self._set(Decision.STARTING, Reason.NOT_ARMED, _ARM)
        if self.decision in (Decision.RUN, Decision.STARTING):
            return self._set(Decision.RUN, Reason.NONE, "")
        if self._well_since_ns is None:
            self._well_since_ns = now_ns
        if self.decision is Decision.SAFE_STOP and not self.is_armed:
            return self.decision
        if now_ns - self._well_since_ns >= settings.hold_recover_ns:
            self._armed_again = self._stopped_by_operator = False
            return self._set(Decision.RUN, Reason.NONE, "")
        return self.decision

    def _refuse(self, now_ns: int, fault: Fault, settings: Settings) -> Decision:
        if fault.reason is Reason.OPERATOR_STOP:
            # The operator must read this reason, whatever the decision was before.
            self.armed = self._armed_again = False
            self._stopped_by_operator = True
            return self._set(*fault)
        if self.decision is Decision.SAFE_STOP:
            # After ~/arm an inference in a lane starts again: to wait for it is no fault.
            self._armed_again &= fault.reason is Reason.NO_ACTION
            return self.decision
        if self.decision is Decision.STARTING:
            if not self.armed:
                text = f"{fault.reason.value}: {fault.detail}"
                return self._set(Decision.STARTING, Reason.NOT_ARMED, text)
            if fault.decision is not Decision.SAFE_STOP:
                # Nothing ran yet, so there is no command to hold.
                return self._set(Decision.STARTING, fault.reason, fault.detail)
        if fault.decision is Decision.SAFE_STOP:
            return self._set(*fault)
        if self.decision is Decision.RUN:
            self._held_since_ns = now_ns
        limit = settings.safe_stop_after_ns
        if limit and now_ns - self._held_since_ns >= limit:
            return self._set(Decision.SAFE_STOP, Reason.HELD_TOO_LONG, fault.detail)
        return self._set(Decision.HOLD, fault.reason, fault.detail)

    def _set(self, decision: Decision, reason: Reason, detail: str) -> Decision:
        if decision is not self.decision:
            self.holds += decision is Decision.HOLD
            self.safe_stops += decision is Decision.SAFE_STOP
            self._armed_again = False
        self.decision, self.reason, self.detail = decision, reason, detail
        if self._told[1] is not reason or self._told[0] is not decision:
            self.changes.append(Change(*self._told, decision, reason, detail))
            self.changed += 1
            self._told = (decision, reason)
        return decision


_ARM = "call ~/arm"
