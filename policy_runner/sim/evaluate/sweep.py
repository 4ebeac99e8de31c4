"""Margins: how far one condition may differ from the nominal before the policy falls."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policy_runner.core.errors import refuse
from policy_runner.sim.evaluate.plan import (
    CONDITIONS,
    RATE,
    check_condition,
    check_value,
    number,
)
from policy_runner.sim.evaluate.summary import Figures

MOST_VALUES = 200


@dataclass(frozen=True)
class Sweep:
    """The values of one condition."""

    name: str  # of `CONDITIONS`, or `RATE`
    values: tuple[float, ...]


@dataclass(frozen=True)
class Margin:
    """How far a condition may go.

    Attributes:
        name: of the condition.
        nominal: its value without a difference.
        low: the smallest value of the sweep down to which no episode fell; None: the sweep has
            no value below the nominal, or the robot fell at the first one.
        high: the same upwards.
        falls_below: the next value below `low`, at which an episode fell; None: none did.
        falls_above: the same upwards.
    """

    name: str
    nominal: float
    low: float | None
    high: float | None
    falls_below: float | None
    falls_above: float | None

    def as_json(self) -> dict[str, float | str | None]:
        """For a report."""
        return {
            "nominal": self.nominal,
            "no_fall_down_to": self.low,
            "falls_at_or_below": self.falls_below,
            "no_fall_up_to": self.high,
            "falls_at_or_above": self.falls_above,
        }


def read_sweep(text: str) -> Sweep:
    """Read `NAME=START:STOP:STEP`; both ends are included.

    Raises:
        Refusal: an unknown name, or numbers that give no values.
    """
    name, _, given = text.partition("=")
    check_condition("--sweep", name, (RATE,))
    parts = given.split(":")
    if len(parts) != 3:
        raise refuse("", "--sweep", "NAME=START:STOP:STEP, such as command_delay=0:0.1:0.01", text)
    start, stop, step = (number(part, "--sweep", text) for part in parts)
    count = math.floor((stop - start) / step + 1e-9) + 1 if step > 0.0 else 0
    if not 1 <= count <= MOST_VALUES:
        expected = f"STOP at least START, and 1 to {MOST_VALUES} values"
        raise refuse("", "--sweep", expected, repr(text))
    # Rounded: 0.1 in place of 0.1 + 1e-17, so that tables and texts show what was meant.
    values = tuple(round(start + k * step, 9) for k in range(count))
    for value in values:
        check_value("--sweep", name, value)
    return Sweep(name, values)


def nominal_of(name: str, rate_hz: float) -> float:
    """The value of a condition without a difference.

    Args:
        name: of the condition, or `RATE`.
        rate_hz: the policy's control rate [Hz].
    """
    return rate_hz if name == RATE else CONDITIONS[name].nominal


def margin_of(sweep: Sweep, figures: Sequence[Figures], nominal: float) -> Margin:
    """Find the margins on both sides of the nominal value.

    Args:
        sweep: its values, ascending.
        figures: of each value.
        nominal: see `nominal_of`.
    """
    falls: Mapping[float, float] = {
        v: float(f["falls"] or 0) for v, f in zip(sweep.values, figures)
    }
    up = [value for value in sweep.values if value >= nominal - 1e-9]
    down = [value for value in reversed(sweep.values) if value <= nominal + 1e-9]
    high, above = _until_fall(up, falls)
    low, below = _until_fall(down, falls)
    only_nominal = len(down) <= 1 and (not down or abs(down[0] - nominal) <= 1e-9)
    if only_nominal:  # the sweep has nothing below the nominal
        low = below = None
    if len(up) <= 1 and (not up or abs(up[0] - nominal) <= 1e-9):
        high = above = None
    return Margin(sweep.name, nominal, low, high, below, above)


def _until_fall(
    values: Sequence[float], falls: Mapping[float, float]
) -> tuple[float | None, float | None]:
    """The last value before the first with a fall, and that one."""
    last = None
    for value in values:
        if falls[value]:
            return last, value
        last = value
    return last, None
