"""What people ask of the robot: the emergency stop, arming, disarming, starting anew.

Everything here is called by the control thread, between two ticks or in one.
"""

from __future__ import annotations

from collections.abc import Callable

from policy_runner.core.safety.decision import Decision, Fault, Reason, Safety

# (accepted, in words) -> whether the one who asked still wants it.
Answer = Callable[[bool, str], bool]
_STOP = Fault(Decision.SAFE_STOP, Reason.OPERATOR_STOP, "~/estop")


class Operator:
    """The emergency stop's state, and a question to arm that waits for the next tick.

    A node has one, whatever policy it runs: `latched` outlives deactivation and configuration.
    """

    def __init__(self) -> None:
        self.pressed = False  # what the newest message on ~/estop said
        self.latched = False  # it stopped, and nobody has armed since
        self._stop = False  # pressed since the last tick, maybe let go of again
        self._asked: Answer | None = None

    def hear_estop(self, pressed: bool) -> None:
        """One message of ~/estop; it counts however soon the next one says otherwise."""
        if pressed:
            self._stop = self.latched = True
        self.pressed = pressed

    def ask_to_arm(self, answer: Answer) -> None:
        """Have the next tick arm, or say why not."""
        self._asked = answer

    def fault(self) -> Fault | None:
        """The emergency stop, from the tick that it came in until it is let go of."""
        if self._stop or self.pressed:
            self._stop = False
            return _STOP
        return None

    @property
    def asks(self) -> bool:
        """Whether somebody waits for an answer."""
        return self._asked is not None

    def answer(self, safety: Safety, fault: Fault | None, outside: str) -> None:
        """Arm, unless something speaks against it; `outside`: a joint beyond its limits."""
        asked, self._asked = self._asked, None
        if asked is None:
            return
        if fault is not None:
            asked(False, f"not armed: {fault.reason.value}: {fault.detail}")
        elif outside:
            asked(False, f"not armed: {Reason.JOINT_OUTSIDE.value}: {outside}")
        elif asked(True, _ARMED[safety.decision]):
            safety.arm()
            self.latched = False


_ARMED = {
    Decision.STARTING: "armed",
    Decision.RUN: "armed already",
    Decision.HOLD: "armed already; HOLD ends by itself",
    Decision.SAFE_STOP: "armed; SAFE_STOP ends once all was well for safety.hold_recover",
}
