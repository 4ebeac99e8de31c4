"""What people ask of the robot: the emergency stop, arming, disarming.

The control thread calls everything here, between two ticks or in one. The exceptions are named
where they stand: `Operator.forbid` and `EstopSource.unheard` are for the executor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from policy_runner.core.safety.decision import Decision, Fault, Reason, Safety

# (accepted, in words) -> whether the caller still wants it.
Answer = Callable[[bool, str], bool]
_KEPT_EVENTS = 64


class EstopSource:
    """One topic of the emergency stop, latched separately from the others."""

    def __init__(self, name: str = "~/estop") -> None:
        self.name = name
        self.pressed = False
        # Since the press the topic did not have exactly one publisher the whole time. A `false`
        # may come from a publisher that did not press, so that only ~/arm releases.
        self.shared = False
        self.pressed_ns = 0  # when the newest `true` was heard, on a monotonic clock
        self.unheard = ""  # which publishers cannot be heard, and why; written by the executor


class Operator:
    """The emergency stop's state, and a request to arm that waits for the next tick.

    A node has one, whatever policy it runs: `latched` outlives deactivation and configuration.
    """

    def __init__(self, sources: Sequence[EstopSource] | None = None) -> None:
        self.sources = tuple(sources) if sources is not None else (EstopSource(),)
        self.pressed = False  # some source is
        self.latched = False  # stopped or disarmed, and not armed since
        self.events: deque[str] = deque(maxlen=_KEPT_EVENTS)  # for the log; the executor takes them
        self._stop = False  # pressed since the last tick, maybe released again
        self._fault = Fault(Decision.SAFE_STOP, Reason.OPERATOR_STOP, self.sources[0].name)
        self._asked: Answer | None = None
        self._asked_ns = self._quiet_ns = 0
        self._forbidden: dict[str, str] = {}

    # --- the emergency stop ---

    def hear_estop(
        self, pressed: bool, now_ns: int = 0, source: EstopSource | None = None, why: str = ""
    ) -> None:
        """Take one message. A press counts however soon the next message says otherwise.

        Args:
            pressed: what the message says.
            now_ns: on a monotonic clock.
            source: where it came from; None: the first one.
            why: what makes it count as a press, where that is not its content.
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
        """The emergency stop, from the tick in which it was heard until it is released.

        In the tick of a request to arm, what that request may release is no fault.
        """
        if self._stop:
            self._stop = False
            return self._fault
        if self.pressed and (self._asked is None or self._held()):
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
        """Have the next tick arm, or say why not.

        Args:
            answer: gets the outcome.
            now_ns: on the clock of `hear_estop`.
            quiet_ns: how long a source with several publishers must not have said `true`.
        """
        self._asked, self._asked_ns, self._quiet_ns = answer, now_ns, quiet_ns

    @property
    def asks(self) -> bool:
        """Whether a request to arm waits for an answer."""
        return self._asked is not None

    def forbid(self, key: str, why: str) -> None:
        """Refuse arming with this sentence from now on; '' allows it again. For the executor.

        Args:
            key: what forbids it; each key has one sentence.
            why: the reason.
        """
        if self._forbidden.get(key, "") != why:
            rest = {name: text for name, text in self._forbidden.items() if name != key}
            self._forbidden = {**rest, key: why} if why else rest

    def answer(self, safety: Safety, fault: Fault | None, outside: str) -> None:
        """Arm, unless something prevents it; `outside`: a joint beyond its limits."""
        asked = self._asked
        if asked is None:
            return
        why = self._refusal(fault, outside)
        self._asked = None
        if why:
            asked(False, f"not armed: {why}")
        elif asked(True, _ARMED[safety.decision]):
            safety.arm()
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
        """How long to wait for a source that only ~/arm releases."""
        pressed = [source for source in self.sources if source.pressed]
        if not pressed or not all(source.shared for source in pressed):
            return ""  # a publisher can still release it
        since_ns = self._asked_ns - max(source.pressed_ns for source in pressed)
        waits = f"must be quiet for {self._quiet_ns / 1e9:g} s"
        return f" said true {max(since_ns, 0) / 1e9:.2f} s ago and {waits}"

    def disarm(self, safety: Safety) -> None:
        """Stop until ~/arm is called, also through deactivation and activation."""
        self.latched = True
        safety.disarm()


_ARMED = {
    Decision.STARTING: "armed",
    Decision.RUN: "armed already",
    Decision.HOLD: "armed already; HOLD ends by itself",
    Decision.SAFE_STOP: "armed; SAFE_STOP ends once all was well for safety.hold_recover",
}
