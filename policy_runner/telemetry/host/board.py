"""Verdicts on GPU, fan and the board as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from policy_runner.telemetry.host.fan import FanReading
from policy_runner.telemetry.host.gpu import GpuReading
from policy_runner.telemetry.host.identity import Identity
from policy_runner.telemetry.host.jetson_identity import Jetson
from policy_runner.telemetry.host.power_mode import PowerModes
from policy_runner.telemetry.host_files import Reading
from policy_runner.telemetry.verdict import ERROR, OK, WARN, Verdict

# A change of the power mode stays in the message this long [s].
_CHANGE_SHOWN_S = 60.0


def judge_gpu(reading: GpuReading) -> Verdict:
    """WARN where NVML tells that the clock is held down; heat and caps have their own status."""
    values: dict[str, object] = {
        "gpu": reading.name or "n/a",
        "source": reading.source,
        "load [%]": reading.load.shown,
        "clock [MHz]": reading.clock.shown,
        "clock low limit [MHz]": reading.clock_low.shown,
        "clock high limit [MHz]": reading.clock_high.shown,
        "governor": reading.governor or "n/a",
        "memory used [MB]": reading.memory_used.shown,
        "power [W]": reading.power.shown,
        "temperature [C]": reading.temperature.shown,
        "slowdown": reading.slowdown or "none",
    }
    words = []
    for figure, pattern in ((reading.load, "{:.0f} %"), (reading.clock, "at {:.0f} MHz")):
        if figure.value is not None:
            words.append(pattern.format(figure.value))
    if not words:
        return Verdict(OK, f"GPU n/a: {reading.load.reason}", values)
    if reading.slowdown:
        words.append(f"held down: {reading.slowdown}")
    return Verdict(WARN if reading.slowdown else OK, " ".join(words), values)


def judge_fan(reading: FanReading) -> Verdict:
    """ERROR for a fan that is driven and does not turn."""
    values: dict[str, object] = {
        "drive [%]": reading.drive.shown,
        "speed [1/min]": reading.rpm.shown,
        "output enabled": reading.enabled.shown,
    }
    if reading.drive.value is None:
        return Verdict(OK, f"fan n/a: {reading.drive.reason}", values)
    drive = f"{reading.drive.value:.0f} %"
    if reading.stalled:
        message = f"fan driven at {drive} stands still for {reading.stalled_s:.0f} s"
        return Verdict(ERROR, message, values)
    speed = "" if reading.rpm.value is None else f", {reading.rpm.value:.0f} turns a minute"
    return Verdict(OK, drive + speed, values)


@dataclass(frozen=True)
class BoardState:
    """Power mode and uptime of one sample."""

    modes: PowerModes
    uptime: Reading
    taken_ns: int


class BoardVerdict:
    """Who the board is; WARN for a minute after its power mode changed under the robot."""

    def __init__(self, identity: Identity, jetson: Jetson) -> None:
        self._identity = identity
        self._jetson = jetson
        self._mode = ""
        self._changed: tuple[int, str] | None = None

    def judge(self, state: BoardState) -> Verdict:
        """Level, sentence, values."""
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
