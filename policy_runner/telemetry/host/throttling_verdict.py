"""Verdict on throttling, with a hold so that a flickering alert is one warning."""

from __future__ import annotations

from policy_runner.telemetry.host.throttling import Counter, ThrottlingReading
from policy_runner.telemetry.verdict import ERROR, OK, WARN, Verdict

# Under-voltage and average over-current; the third is the instantaneous one, common at MAXN.
_SERIOUS = ("oc1", "oc2")


class ThrottlingVerdict:
    """WARN while something holds the clocks down, ERROR on serious over-current events."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, int, str]] = {}  # cause: (level, seen_ns, words)

    def judge(self, reading: ThrottlingReading, oc_rate: float, hold_s: float) -> Verdict:
        """`oc_rate` [1/s] from which instantaneous over-current is WARN; `hold_s` after the end."""
        for cause, level, words in _causes(reading, oc_rate):
            self._held[cause] = (level, reading.taken_ns, words)
        self._held = {
            cause: held
            for cause, held in self._held.items()
            if reading.taken_ns - held[1] <= hold_s * 1e9
        }
        values = _values(reading)
        if not self._held:
            known = reading.alerts or reading.caps or reading.counters
            nothing = "this host tells nothing about throttling"
            return Verdict(OK, "not throttled" if known else nothing, values)
        worst = sorted(self._held.values(), key=lambda held: -held[0])
        return Verdict(worst[0][0], "; ".join(held[2] for held in worst), values)


def _causes(reading: ThrottlingReading, oc_rate: float) -> list[tuple[str, int, str]]:
    causes = [
        (f"alert {zone}", WARN, f"{zone}-throttle-alert is active")
        for zone in reading.active_alerts
    ]
    for cap in reading.active_caps:
        words = f"{cap.name} capped by heat (step {cap.step.value:.0f}"
        words += ")" if cap.steps.value is None else f" of {cap.steps.value:.0f})"
        causes.append((f"cap {cap.name}", WARN, words))
    for counter in reading.counters:
        cause = _counter_cause(counter, oc_rate)
        if cause:
            causes.append((counter.name, *cause))
    return causes


def _counter_cause(counter: Counter, oc_rate: float) -> tuple[int, str] | None:
    rate = counter.rate.value
    if not rate:
        return None
    if not counter.name.startswith("oc"):
        name = counter.name.removesuffix("_throttle")
        return WARN, f"the processor throttles itself ({name}, {rate:.1f} times a second)"
    if counter.name in _SERIOUS:
        kind = "under-voltage or over-current" if counter.name == "oc1" else "over-current"
        return ERROR, f"{counter.name} events ({kind}), {rate:.1f} a second"
    if rate >= oc_rate:
        return WARN, f"{counter.name} over-current events, {rate:.1f} a second"
    return None


def _values(reading: ThrottlingReading) -> dict[str, object]:
    values: dict[str, object] = {
        "active alerts": ", ".join(reading.active_alerts) or "none",
        "active caps": ", ".join(cap.name for cap in reading.active_caps) or "none",
        "hot surface notice": reading.hot_surface.shown,
    }
    for zone, state in reading.alerts:
        values[f"{zone} throttle alert"] = state.shown
    for cap in reading.caps:
        values[f"{cap.name} cap step"] = cap.step.shown
    for counter in reading.counters:
        values[f"{counter.name} events"] = counter.count.shown
        values[f"{counter.name} events [1/s]"] = counter.rate.shown
    return values
