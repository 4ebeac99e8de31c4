"""Verdict on the board: its identity and its power mode."""

from __future__ import annotations

from dataclasses import dataclass

from policy_runner.telemetry.host.identity import Identity, Jetson
from policy_runner.telemetry.host.power_mode import PowerModes
from policy_runner.telemetry.host_files import Reading
from policy_runner.telemetry.verdict import OK, WARN, Verdict

# A change of the power mode stays in the message for this time [s].
_CHANGE_SHOWN_S = 60.0


@dataclass(frozen=True)
class BoardState:
    """Power mode and uptime of one sample."""

    modes: PowerModes
    uptime: Reading
    taken_ns: int


class BoardVerdict:
    """Shows the board's identity; WARN for a minute after its power mode changed."""

    def __init__(self, identity: Identity, jetson: Jetson) -> None:
        self._identity = identity
        self._jetson = jetson
        self._mode = ""
        self._changed: tuple[int, str] | None = None

    def judge(self, state: BoardState) -> Verdict:
        """Return the verdict for a sample."""
        mode = state.modes.current
        name = mode.name if mode else ""
        if name and self._mode and name != self._mode:
            self._changed = (state.taken_ns, f"power mode changed from {self._mode} to {name}")
        self._mode = name or self._mode
        jetson, identity = self._jetson, self._identity
        not_jetson = "n/a" if jetson.family else "n/a: not a Jetson"
        values: dict[str, object] = {
            "model": identity.model or "n/a",
            "family": jetson.family or not_jetson,
            "module": jetson.module or not_jetson,
            "L4T": jetson.l4t or not_jetson,
            "JetPack": jetson.jetpack or not_jetson,
            "power mode": name or f"n/a: {state.modes.reason}",
            "power mode id": mode.number if mode else f"n/a: {state.modes.reason}",
            "host": identity.host or "n/a",
            "uptime [s]": state.uptime.shown,
        }
        if self._changed and state.taken_ns - self._changed[0] < _CHANGE_SHOWN_S * 1e9:
            return Verdict(WARN, self._changed[1], values)
        words = [jetson.module or identity.model or "unknown machine"]
        if jetson.l4t:
            words.append(f"L4T {jetson.l4t}")
        if jetson.jetpack:
            words.append(f"JetPack {jetson.jetpack}")
        if name:
            words.append(f"mode {name}")
        return Verdict(OK, ", ".join(words), values)
