"""The operator's requests: the emergency stop, arming, disarming.

The control thread calls everything here, during a tick or between two ticks. Exceptions: the
executor calls `Operator.forbid` and writes `EstopSource.unheard`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from policy_runner.core.safety.decision import Decision, Fault, Reason, Safety

# (accepted, text) -> whether the caller still waits for the answer.
Answer = Callable[[bool, str], bool]
_KEPT_EVENTS = 64


class EstopSource:
    """One topic of the emergency stop, latched separately from the others."""

    def __init__(self, name: str = "~/estop") -> None:
        self.name = name
        self.pressed = False
        # True: since the press, the topic did not always have exactly one publisher. A `false`
        # may come from a publisher that did not press, so only ~/arm releases this source.
        self.shared = False
        self.pressed_ns = 0  # arrival of the newest `true`, on a monotonic clock
        # The publishers that cannot be heard, and why; the executor writes it.
        self.unheard = ""


class Operator:
    """The emergency stop's state, and a request to arm that waits for the next tick.

    A node has one `Operator` for all its policies. `latched` survives deactivation and
    configuration.
    """

    def __init__(self, sources: Sequence[EstopSource] | None = None) -> None:
        self.sources = tuple(sources) if sources is not None else (EstopSource(),)
        self.pressed = False  # at least one source is pressed
        self.latched = False  # stopped or disarmed, and not armed since then
        self.events: deque[str] = deque(maxlen=_KEPT_EVENTS)  # for the log; the executor takes them
        self.told: Fault | None = None  # the newest fault that `fault` returned; for a record
        self.granted: bool | None = None  # the newest answer to a request; for a record
        self._stop = False  # pressed since the last tick, perhaps already released
        self._fault = Fault(Decision.SAFE_STOP, Reason.OPERATOR_STOP, self.sources[0].name)
        self._asked: Answer | None = None
        self._asked_ns = self._quiet_ns = 0
        self._forbidden: dict[str, str] = {}

    # --- the emergency stop ---

    def hear_estop(
        self, pressed: bool, now_ns: int = 0, source: EstopSource | None = None, why: str = ""
    ) -> None:
        """Process one message. A press stops the robot even if a `false` follows immediately.

        Args:
            pressed: the value of the message.
            now_ns: on a monotonic clock.
            source: the topic of the message; None: the first source.
            why: why it counts as a press, if the reason is not the message's value.
        """
        source = source or self.sources[0]
        if pressed:
            if not source.pressed:
                source.shared = False
                self.events.append(f"emergency stop pressed: {why or source.name}")
            source.pressed = self.pressed = self.latched = self._stop = True
            source.pressed_ns = now_ns
            self._name(why)
        elif source.pressed and not source.shared:
            source.pressed = False
            self.events.append(f"emergency stop released: {source.name}; ~/arm is needed")
            self.pressed = any(one.pressed for one in self.sources)
            if self.pressed:
                self._name()

    def _name(self, why: str = "") -> None:
        names = ", ".join(source.name for source in self.sources if source.pressed)
        self._fault = Fault(Decision.SAFE_STOP, Reason.OPERATOR_STOP, why or names)

    def fault(self) -> Fault | None:
        """The fault of the emergency stop, from the tick in which it was heard to its release.

        Exception: in the tick of a request to arm, a press that the request may release is no
        fault.
        """
        if self._stop:
            self._stop = False
            self.told = self._fault
            return self._fault
        if self.pressed and (self._asked is None or self._held()):
            self.told = self._fault
            return self._fault
        return None

    def _held(self) -> bool:
        """Whether a pressed source cannot be released by the request to arm."""
        return any(
            source.pressed
            and (not source.shared or self._asked_ns - source.pressed_ns < self._quiet_ns)
            for source in self.sources
        )

    # --- arming ---

    def ask_to_arm(self, answer: Answer, now_ns: int = 0, quiet_ns: int = 0) -> None:
        """Let the next tick arm, or report why not.

        Args:
            answer: called with the result; see `Answer`.
            now_ns: on the clock of `hear_estop`.
            quiet_ns: minimum time since the last `true` of a source with several publishers.
        """
        self._asked, self._asked_ns, self._quiet_ns = answer, now_ns, quiet_ns

    @property
    def asks(self) -> bool:
        """Whether a request to arm waits for an answer."""
        return self._asked is not None

    def forbid(self, key: str, why: str) -> None:
        """Refuse arming from now on. The executor calls this.

        Args:
            key: name of the check that forbids arming; each key has one reason.
            why: the reason, a sentence for the operator; '' removes it.
        """
        if self._forbidden.get(key, "") != why:
            rest = {name: text for name, text in self._forbidden.items() if name != key}
            self._forbidden = {**rest, key: why} if why else rest

    def answer(self, safety: Safety, fault: Fault | None, outside: str) -> None:
        """Answer the waiting request: arm, or refuse with the reason.

        Args:
            safety: is armed if there is no reason to refuse.
            fault: the fault of this tick.
            outside: text of a joint beyond its limits, or ''.
        """
        asked = self._asked
        if asked is None:
            return
        why = self._refusal(fault, outside)
        self._asked = None
        self.granted = False
        if why:
            asked(False, f"not armed: {why}")
        elif asked(True, _ARMED[safety.decision]):
            safety.arm()
            self.granted = True
            self.latched = self.pressed = False
            for source in self.sources:
                source.pressed = source.shared = False

    def _refusal(self, fault: Fault | None, outside: str) -> str:
        if fault is not None:
            why = f"{fault.reason.value}: {fault.detail}"
            return why + self._quiet() if fault.reason is Reason.OPERATOR_STOP else why
        for source in self.sources:
            if source.unheard:
                return f"{source.name}: {source.unheard}"
        for why in self._forbidden.values():
            return why
        return f"{Reason.JOINT_OUTSIDE.value}: {outside}" if outside else ""

    def _quiet(self) -> str:
        """Text: how long a source that only ~/arm releases must be quiet."""
        pressed = [source for source in self.sources if source.pressed]
        if not pressed or not all(source.shared for source in pressed):
            return ""  # a publisher can still release it
        since_ns = self._asked_ns - max(source.pressed_ns for source in pressed)
        waits = f"must be quiet for {self._quiet_ns / 1e9:g} s"
        return f" said true {max(since_ns, 0) / 1e9:.2f} s ago and {waits}"

    def disarm(self, safety: Safety) -> None:
        """Stop until ~/arm is called. Deactivation and activation do not end this stop."""
        self.latched = True
        safety.disarm()


_ARMED = {
    Decision.STARTING: "armed",
    Decision.RUN: "already armed",
    Decision.HOLD: "already armed; HOLD ends by itself",
    Decision.SAFE_STOP: "armed; SAFE_STOP ends after safety.hold_recover without a fault",
}
