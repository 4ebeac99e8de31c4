"""When the guard acts: pure, the time comes in as an argument."""

from __future__ import annotations

from policy_runner.ros.messages.guard_contract import GuardContract

# So often and for so long a stop is sent: a receiver may have missed the first one, and a person
# may want to command the robot after a runner that is gone for good.
REPEAT_NS = 50_000_000
REPEATS_FOR_NS = 1_000_000_000


class GuardWatch:
    """Judges one runner by its heartbeats and by the emergency stop.

    A guard that did not run itself for a while (a suspended machine, a starved process) has not
    heard what came meanwhile: `resumed` gives the runner its whole limit again.
    """

    def __init__(self) -> None:
        self.contract: GuardContract | None = None
        self.acts = 0  # how often it stopped the outputs
        self.reason = ""  # of the newest of these
        self._beat_ns: int | None = None  # of the newest heartbeat of this session
        self._commanding = False
        self._pressed_ns: int | None = None
        self._acting_since_ns: int | None = None
        self._sent_ns = 0

    def use(self, contract: GuardContract) -> None:
        """The runner was configured or reloaded: these are its outputs now."""
        if self.contract is None or contract.session != self.contract.session:
            self._beat_ns, self._commanding, self._pressed_ns = None, False, None
            self._acting_since_ns = None
        self.contract = contract

    def beat(self, now_ns: int, session: str, commanding: bool) -> None:
        """One heartbeat. `commanding`: the runner's commands may move the robot now."""
        if self.contract is None or session != self.contract.session:
            return
        self._beat_ns, self._commanding = now_ns, commanding
        if not commanding:
            self._pressed_ns = None
        if self._acting_since_ns is not None and (not commanding or self._pressed_ns is None):
            self._acting_since_ns = None  # the runner is back, or has stopped: silence from here

    def pressed(self, now_ns: int) -> None:
        """The emergency stop was pressed."""
        if self._commanding and self._pressed_ns is None:
            self._pressed_ns = now_ns

    def resumed(self, now_ns: int) -> None:
        """The guard itself was away; what it missed says nothing about the runner."""
        if self._acting_since_ns is None:
            self._beat_ns = now_ns if self._beat_ns is not None else None
            self._pressed_ns = now_ns if self._pressed_ns is not None else None

    @property
    def acting(self) -> bool:
        """Whether it commands the stops now."""
        return self._acting_since_ns is not None

    @property
    def commanding(self) -> bool:
        """Whether the runner's newest heartbeat said that it commands."""
        return self._commanding

    def silent_ns(self, now_ns: int) -> int | None:
        """Time since the newest heartbeat; None before the first."""
        return None if self._beat_ns is None else now_ns - self._beat_ns

    def judge(self, now_ns: int) -> bool:
        """Whether to send the stops now."""
        contract = self.contract
        if contract is None or not contract.guarded or self._beat_ns is None:
            return False
        if self._acting_since_ns is None and self._commanding:
            silent_ns = now_ns - self._beat_ns
            if silent_ns > contract.silence_ns:
                self._act(now_ns, f"no heartbeat for {silent_ns / 1e9:.2f} s")
            elif self._pressed_ns is not None and now_ns - self._pressed_ns > contract.reaction_ns:
                self._act(now_ns, "the runner did not react to the emergency stop")
        if self._acting_since_ns is None or now_ns - self._acting_since_ns > REPEATS_FOR_NS:
            return False
        if now_ns - self._sent_ns < REPEAT_NS:
            return False
        self._sent_ns = now_ns
        return True

    def _act(self, now_ns: int, reason: str) -> None:
        self.acts += 1
        self.reason = reason
        self._acting_since_ns = now_ns
        self._sent_ns = now_ns - REPEAT_NS
