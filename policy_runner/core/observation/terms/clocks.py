"""Terms that count inferences: phase clocks, step counters, the first step."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.inputs.slot import Read
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.counters import Counter, PhaseClock
from policy_runner.core.observation.terms.sources import CompiledTerm, Sources, absolute, compiles
from policy_runner.core.spec import FirstStepTerm, PhaseClockTerm, PhaseHold, StepCounterTerm

_PREFIX = {"geometry_msgs/msg/Twist": "", "geometry_msgs/msg/TwistStamped": "twist."}


@compiles(PhaseClockTerm)
def phase_clock(term: PhaseClockTerm, sources: Sources, key: str) -> CompiledTerm:
    """The sin, the cos or the phase of one or several clocks."""
    count, parts = len(term.offsets), term.parts
    held_at = _held_at(term.hold, count, sources, key)
    clock = PhaseClock(
        sources.spec.control_dt / term.period,
        term.start,
        term.offsets,
        _still(term.hold, sources, key),
        held_at,
    )
    sources.clocks.append(clock)
    cells = [(part, k) for part in parts for k in range(count)]
    if term.layout == "by_clock":
        cells = [(part, k) for k in range(count) for part in parts]

    def bind(out: Array) -> Read:
        def read() -> str:
            phases = clock.phases()
            out[:] = [
                phases[k]
                if part == "phase"
                else (math.sin if part == "sin" else math.cos)(2.0 * math.pi * phases[k])
                for part, k in cells
            ]
            return ""

        return read

    elements = tuple(part if count == 1 else f"{part}[{k}]" for part, k in cells)
    return absolute(term.name or "phase_clock", elements, bind)


def _held_at(hold: PhaseHold | None, count: int, sources: Sources, key: str) -> list[float] | None:
    if hold is None or hold.at is None:
        return None
    at = hold.at if isinstance(hold.at, list) else [hold.at] * count
    if len(at) != count:
        expected = f"one number, or {count}, one per clock"
        raise refuse(sources.file, f"{key}.hold.at", expected, f"{len(at)}")
    return at


def _still(hold: PhaseHold | None, sources: Sources, key: str) -> Callable[[], bool]:
    if hold is None:
        return lambda: False
    slot = sources.slot(hold.input, f"{key}.hold")
    if slot.spec.type not in _PREFIX:
        expected = "an input of type geometry_msgs/msg/Twist or TwistStamped"
        raise refuse(sources.file, f"{key}.hold.input", expected, slot.spec.type)
    paths = [_PREFIX[slot.spec.type] + axis for axis in hold.axes]
    arrays = [sources.numbers(slot, path, 1, f"{key}.hold.axes") for path in paths]
    below = hold.below

    def still() -> bool:
        return math.hypot(*(float(array[0]) for array in arrays)) < below

    return still


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
