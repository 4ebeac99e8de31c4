"""Terms that count inferences: phase clocks, step counters, the first step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.inputs.slot import Read
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.counters import Counter
from policy_runner.core.observation.terms.gait.conditions import bool_of, norm_of, small
from policy_runner.core.observation.terms.gait.phase import NEVER_HELD, HoldRule, PhaseClock
from policy_runner.core.observation.terms.sources import CompiledTerm, Sources, absolute, compiles
from policy_runner.core.spec import (
    FirstStepTerm,
    PhaseClockTerm,
    PhaseFrequency,
    PhaseHold,
    StepCounterTerm,
)
from policy_runner.core.spec.named_numbers import by_name

BOOL = "std_msgs/msg/Bool"


@compiles(PhaseClockTerm)
def phase_clock(term: PhaseClockTerm, sources: Sources, key: str) -> CompiledTerm:
    """The sin, the cos or the phase of one or several clocks."""
    if (term.period is None) == (term.frequency is None):
        got = "none" if term.period is None else "both"
        raise refuse(sources.file, key, "one of `period` and `frequency`", got)
    count, parts, dt = len(term.offsets), term.parts, sources.spec.control_dt
    hold = _hold_rule(term.hold, count, sources, f"{key}.hold")
    hertz = _frequency(term.frequency, sources, f"{key}.frequency") if term.frequency else None
    clock = PhaseClock(
        dt / term.period if term.period is not None else _cycles(hertz, dt),
        term.start,
        term.offsets,
        hold,
        before=term.first == "start_plus_step",
        restarted=bool_of(term.restart.input, sources, f"{key}.restart") if term.restart else None,
    )
    sources.clocks.append(clock)
    cells = [(part, k) for part in parts for k in range(count)]
    if term.layout == "by_clock":
        cells = [(part, k) for k in range(count) for part in parts]
    elements = tuple(part if count == 1 else f"{part}[{k}]" for part, k in cells)
    shown = None
    if term.hold is not None and term.hold.shown is not None:
        shown = by_name(term.hold.shown, elements, sources.file, f"{key}.hold.shown")

    def bind(out: Array) -> Read:
        def read() -> str:
            if hertz is not None and not math.isfinite(hertz()):
                return f"the frequency is {hertz()}"
            if shown is not None and clock.held:
                np.copyto(out, shown)
                return ""
            phases = clock.phases()
            out[:] = [
                phases[k]
                if part == "phase"
                else (math.sin if part == "sin" else math.cos)(2.0 * math.pi * phases[k])
                for part, k in cells
            ]
            return ""

        return read

    return absolute(term.name or "phase_clock", elements, bind)


def _cycles(hertz: Callable[[], float] | None, dt: float) -> Callable[[], float]:
    assert hertz is not None
    return lambda: hertz() * dt


def _hold_rule(hold: PhaseHold | None, count: int, sources: Sources, key: str) -> HoldRule:
    if hold is None:
        return NEVER_HELD
    at: list[float] | None = None
    if hold.at is not None:
        at = hold.at if isinstance(hold.at, list) else [hold.at] * count
        if len(at) != count:
            expected = f"one number, or {count}, one per clock"
            raise refuse(sources.file, f"{key}.at", expected, f"{len(at)}")
    if hold.at is not None and hold.shown is not None:
        raise refuse(sources.file, f"{key}.shown", "one of `at` and `shown`", "both")
    if hold.clock == "run" and hold.at is None and hold.shown is None:
        expected = "`at` or `shown`, since the clock runs on while it is held"
        raise refuse(sources.file, key, expected, "none")
    if hold.clock != "restart" and (hold.restart_from, hold.first) != ("start", "start"):
        which = "restart_from" if hold.restart_from != "start" else "first"
        raise refuse(
            sources.file, f"{key}.{which}", "this key only with clock: restart", hold.clock
        )
    if hold.restart_from == "at" and at is None:
        raise refuse(sources.file, f"{key}.at", "a phase, since restart_from is at", "none")
    restart_at, first_step = hold.restart_from == "at", hold.first == "start_plus_step"
    return HoldRule(_held(hold, sources, key), at, hold.clock, restart_at, first_step)


def _held(hold: PhaseHold, sources: Sources, key: str) -> Callable[[], bool]:
    slot = sources.slot(hold.input, key)
    if slot.spec.type == BOOL:
        for given in ("axes", "groups", "fields", "below"):
            if getattr(hold, given) is not None:
                expected = "no such key, since the input is a Bool"
                raise refuse(sources.file, f"{key}.{given}", expected, f"{getattr(hold, given)}")
        value, when = bool_of(hold.input, sources, key), hold.when
        return lambda: value() is when
    if not hold.when:
        raise refuse(sources.file, f"{key}.when", "this key only for a Bool", slot.spec.type)
    return small(hold, hold.input, sources, key)


def _frequency(spec: PhaseFrequency, sources: Sources, key: str) -> Callable[[], float]:
    """The frequency [Hz] by the newest command."""
    norm, value = norm_of(spec.input, spec.axes, spec.fields, sources, key)
    low, high = spec.clip or (None, None)
    low = -math.inf if low is None else low
    high = math.inf if high is None else high
    if spec.points is None:
        if value is None:
            expected = "`points`, since several numbers give a norm and no frequency"
            raise refuse(sources.file, f"{key}.points", expected, "none")
        one = value
        return lambda: min(max(one(), low), high)
    at = [point[0] for point in spec.points]
    hertz = [point[1] for point in spec.points]
    if sorted(at) != at:
        raise refuse(sources.file, f"{key}.points", "norms in rising order", f"{at}")

    def frequency() -> float:
        x = norm()
        if x != x:
            return x
        k = bisect_right(at, x)
        if k == 0:
            found = hertz[0]
        elif k == len(at):
            found = hertz[-1]
        else:
            share = (x - at[k - 1]) / (at[k] - at[k - 1])
            found = hertz[k - 1] + share * (hertz[k] - hertz[k - 1])
        return min(max(found, low), high)

    return frequency


@compiles(StepCounterTerm)
def step_counter(term: StepCounterTerm, sources: Sources, _key: str) -> CompiledTerm:
    """The number of inferences since reset."""
    counter = Counter(term.start, term.delay, term.last, term.end == "loop")
    sources.clocks.append(counter)

    def bind(out: Array) -> Read:
        def read() -> str:
            out[0] = counter.value
            return ""

        return read

    return absolute(term.name or "step_counter", ("step",), bind)


@compiles(FirstStepTerm)
def first_step(term: FirstStepTerm, sources: Sources, _key: str) -> CompiledTerm:
    """1 at the first inference, then 0."""
    counter = Counter()
    sources.clocks.append(counter)

    def bind(out: Array) -> Read:
        def read() -> str:
            np.copyto(out, 1.0 if counter.steps == 0 else 0.0)
            return ""

        return read

    return absolute(term.name or "first_step", ("first",), bind)
