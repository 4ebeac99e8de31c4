"""Decides when the guard acts. Pure: the caller gives the time as an argument."""

from __future__ import annotations

from policy_runner.ros.messages.guard_contract import GuardContract

# Interval and duration of the repeated stops. A receiver may have missed the first stop. After a
# second the guard is silent, so that the operator can command the robot without the runner.
REPEAT_NS = 50_000_000
REPEATS_FOR_NS = 1_000_000_000


class GuardWatch:
    """Judges one runner by its heartbeats and by the emergency stop.

    The guard itself may not have run for some time (a suspended machine, a starved process). It
    has missed heartbeats then, so `resumed` starts the runner's time limits again.
    """

    def __init__(self) -> None:
        self.contract: GuardContract | None = None
        self.acts = 0  # how often the guard has stopped the outputs
        self.reason = ""  # why it stopped them the last time
        self.unanswered = ""  # topic of the press that it stopped them for; "" for a silence
        self._beat_ns: int | None = None  # arrival of the newest heartbeat of this session
        self._commanding = False
        self._stopped = False  # the newest heartbeat says SAFE_STOP
        self._pressed_ns: int | None = None
        self._pressed_topic = ""
        self._acting_since_ns: int | None = None
        self._sent_ns = 0

    def use(self, contract: GuardContract) -> None:
        """Use these outputs and limits; the runner was configured or reloaded."""
        if self.contract is None or contract.session != self.contract.session:
            self._beat_ns, self._commanding, self._pressed_ns = None, False, None
            self._acting_since_ns = None
        self.contract = contract

    def beat(self, now_ns: int, session: str, commanding: bool, stopped: bool = False) -> None:
        """Take one heartbeat into account.

        Args:
            now_ns: current time on the monotonic clock.
            session: the process that sent the heartbeat.
            commanding: whether the runner publishes commands now.
            stopped: whether these commands are the stop, since its decision is SAFE_STOP.
        """
        if self.contract is None or session != self.contract.session:
            return
        self._beat_ns, self._commanding, self._stopped = now_ns, commanding, stopped
        if stopped or not commanding:
            self._pressed_ns = None
        if self._acting_since_ns is not None and (not commanding or self._pressed_ns is None):
            self._acting_since_ns = None  # the runner is back, or has stopped: the guard is silent

    def pressed(self, now_ns: int, topic: str = "") -> None:
        """Note the first press that the runner has not answered.

        Args:
            now_ns: current time on the monotonic clock.
            topic: fully resolved.
        """
        if self._commanding and not self._stopped and self._pressed_ns is None:
            self._pressed_ns, self._pressed_topic = now_ns, topic

    def resumed(self, now_ns: int) -> None:
        """Start the time limits again: the guard did not run, so the silence may be its own."""
        if self._acting_since_ns is None:
            self._beat_ns = now_ns if self._beat_ns is not None else None
            self._pressed_ns = now_ns if self._pressed_ns is not None else None

    @property
    def acting(self) -> bool:
        """Whether the guard has stopped the outputs, and the runner is not back yet."""
        return self._acting_since_ns is not None

    @property
    def commanding(self) -> bool:
        """Whether the runner's newest heartbeat said that it commands."""
        return self._commanding

    def silent_ns(self, now_ns: int) -> int | None:
        """Time since the newest heartbeat [ns]; None before the first."""
        return None if self._beat_ns is None else now_ns - self._beat_ns

    def judge(self, now_ns: int) -> bool:
        """Whether to send the stops now, `now_ns` on the monotonic clock."""
        contract = self.contract
        if contract is None or not contract.guarded or self._beat_ns is None:
            return False
        if self._acting_since_ns is None and self._commanding:
            silent_ns = now_ns - self._beat_ns
            if silent_ns > contract.silence_ns:
                self._act(now_ns, f"no heartbeat for {silent_ns / 1e9:.2f} s")
            elif self._pressed_ns is not None and now_ns - self._pressed_ns > contract.reaction_ns:
                self._act(
                    now_ns,
                    "the runner did not react to the emergency stop",
                    self._pressed_topic,
                )
        if self._acting_since_ns is None or now_ns - self._acting_since_ns > REPEATS_FOR_NS:
            return False
        if now_ns - self._sent_ns < REPEAT_NS:
            return False
        self._sent_ns = now_ns
        return True

    def _act(self, now_ns: int, reason: str, unanswered: str = "") -> None:
        self.acts += 1
        self.reason, self.unanswered = reason, unanswered
        self._acting_since_ns = now_ns
        self._sent_ns = now_ns - REPEAT_NS
