"""What a robot's own diagnostics measured, to compare with the margins of a policy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from policy_runner.core.black_box.records import NotKept, Received, Record, Tick
from policy_runner.sim.evaluate.plan import CONDITIONS, RATE
from policy_runner.sim.evaluate.sweep import Margin
from policy_runner.telemetry.recording.diagnostics_cdr import Status

DELAY = "command_delay"


@dataclass(frozen=True)
class Measured:
    """Figures of one robot.

    Attributes:
        delay_s: from the oldest input that a command used until it was published [s], 99th
            percentile; None: not measured.
        rate_hz: of the control loop [Hz]: the lowest that diagnostics reported, or the mean over a
            black box; None: not measured.
        text: where they come from.
    """

    delay_s: float | None
    rate_hz: float | None
    text: str


def from_diagnostics(messages: Iterable[tuple[int, list[Status]]]) -> Measured:
    """Take the worst figures of a recording of `/diagnostics`.

    Args:
        messages: (wall time [ns], statuses), see `telemetry.recording.mcap.read_recording`.
    """
    delays: list[float] = []
    rates: list[float] = []
    for _, statuses in messages:
        for status in statuses:
            if not status.name.endswith(": loop"):
                continue
            delay = _number(status.values.get("input to action p99 [us]"))
            rate = _number(status.values.get("rate [Hz]"))
            if delay is not None:
                delays.append(delay / 1e6)
            if rate:  # the first message has no rate yet
                rates.append(rate)
    return Measured(max(delays, default=None), min(rates, default=None), "diagnostics")


def from_black_box(records: Iterable[Record]) -> Measured:
    """Take the figures of a black box: the age of the oldest input, plus the inference.

    Args:
        records: in order.
    """
    arrived: dict[str, int] = {}
    ages: list[int] = []
    ticks: list[int] = []
    for one in records:
        if isinstance(one, (Received, NotKept)):
            arrived[one.input] = one.arrived_ns
        elif isinstance(one, Tick):
            ticks.append(one.now_ns)
            if one.inferred and arrived:
                ages.append(one.now_ns - min(arrived.values()) + one.took_ns)
    delay = float(np.percentile(ages, 99)) / 1e9 if ages else None
    rate = None
    if len(ticks) > 1 and ticks[-1] > ticks[0]:
        rate = (len(ticks) - 1) / ((ticks[-1] - ticks[0]) / 1e9)
    return Measured(delay, rate, "black box")


def comparisons(margins: Sequence[Margin], measured: Measured) -> list[tuple[str, bool]]:
    """Compare every margin that the robot measured.

    Returns:
        A sentence, and whether the margin is smaller than what was measured.
    """
    found: list[tuple[str, bool]] = []
    for margin in margins:
        if margin.name == DELAY and measured.delay_s is not None:
            most = margin.high if margin.high is not None else margin.nominal
            beyond = measured.delay_s > most
            text, value, falls = f"up to {most:g} s", measured.delay_s, margin.falls_above
        elif margin.name == RATE and measured.rate_hz is not None:
            least = margin.low if margin.low is not None else margin.nominal
            beyond = measured.rate_hz < least
            text, value, falls = f"down to {least:g} Hz", measured.rate_hz, margin.falls_below
        else:
            continue
        small = beyond and falls is not None
        # Without a fall the sweep ended before the margin did.
        verdict = "is smaller than" if small else "was not swept to" if beyond else "covers"
        unit = "Hz" if margin.name == RATE else CONDITIONS[margin.name].unit
        sentence = f"{margin.name}: the margin ({text}) {verdict} the measured {value:.4g} {unit}"
        found.append((sentence, small))
    return found


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
