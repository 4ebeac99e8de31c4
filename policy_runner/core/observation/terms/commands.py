"""Terms of commands: twists and integrated rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.inputs.slot import Read
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.fields import each_once
from policy_runner.core.observation.terms.gait.conditions import (
    TWISTS,
    all_small,
    bool_of,
    single_numbers,
)
from policy_runner.core.observation.terms.sources import CompiledTerm, Sources, absolute, compiles
from policy_runner.core.spec import (
    IntegratedCommandTerm,
    VelocityCommandTerm,
    ZeroRule,
)
from policy_runner.core.spec.named_numbers import bounds_by_name, by_name


@compiles(VelocityCommandTerm)
def velocity_command(term: VelocityCommandTerm, sources: Sources, key: str) -> CompiledTerm:
    """The axes of a twist, with a dead band and rules that make axes 0."""
    slot = sources.slot_of(term.input, key, *TWISTS)
    each_once(term.axes, sources, f"{key}.axes")
    head = TWISTS[slot.spec.type]
    arrays = [sources.numbers(slot, head + axis, 1, key) for axis in term.axes]
    dead_band = _dead_band(term.dead_band, term.axes, sources, key)
    has_dead_band = bool(np.any(dead_band))
    rules = [
        _zero_rule(rule, term, sources, f"{key}.zero[{k}]") for k, rule in enumerate(term.zero)
    ]

    def bind(out: Array) -> Read:
        def read() -> str:
            np.concatenate(arrays, out=out)
            if has_dead_band:
                out[np.abs(out) < dead_band] = 0.0
            for where, holds in rules:
                if holds():
                    out[where] = 0.0
            return ""

        return read

    return absolute(term.name or "velocity_command", tuple(term.axes), bind)


def _dead_band(given: object, names: Sequence[str], sources: Sources, key: str) -> Array:
    dead_band = by_name(given, names, sources.file, f"{key}.dead_band")
    if np.any(dead_band < 0):
        got = f"{dead_band.min():g}"
        raise refuse(sources.file, f"{key}.dead_band", "0 or more", got)
    return dead_band


def _zero_rule(
    rule: ZeroRule, term: VelocityCommandTerm, sources: Sources, key: str
) -> tuple[list[int], Callable[[], bool]]:
    """(indices of the axes, whether the rule holds for the messages as they arrive)."""
    for k, axis in enumerate(rule.axes):
        if axis not in term.axes:
            expected = f"an axis of the term ({', '.join(term.axes)})"
            raise refuse(sources.file, f"{key}.axes[{k}]", expected, axis)
    holds = all_small(rule.when, term.input, sources, f"{key}.when")
    return [term.axes.index(axis) for axis in rule.axes], holds


class Integrator:
    """Values that rates move by one step per inference, within bounds.

    Attributes:
        values: the values that the next step starts from, float64 [n].
    """

    def __init__(
        self,
        start: Array,
        step: Callable[[], Array],
        low: Array,
        high: Array,
        before: bool,
        asked: Callable[[], bool],
    ) -> None:
        """Begin at `start`.

        Args:
            start: float64 [n].
            step: the change per inference for the newest rates, float64 [n].
            low: bounds of the values, float64 [n].
            high: bounds of the values, float64 [n].
            before: the values move before each inference, not after it.
            asked: whether the newest message asks for `start`.
        """
        self._start, self._step, self._low, self._high = start, step, low, high
        self._before, self._asked = before, asked
        self.values = start.copy()

    def _moved(self, values: Array) -> Array:
        return np.minimum(np.maximum(values + self._step(), self._low), self._high)

    def now(self) -> Array:
        """The values of the present inference, float64 [n]."""
        if self._asked():
            return self._start
        return self._moved(self.values) if self._before else self.values

    def advance(self) -> None:
        """Count one inference."""
        if self._asked():
            np.copyto(self.values, self._start)
        else:
            np.copyto(self.values, self._moved(self.values))

    def reset(self) -> None:
        """Return to `start`."""
        np.copyto(self.values, self._start)


@compiles(IntegratedCommandTerm)
def integrated_command(term: IntegratedCommandTerm, sources: Sources, key: str) -> CompiledTerm:
    """Values that are moved by the rates of a command."""
    if (term.axes is None) == (term.fields is None):
        raise refuse(sources.file, key, "one of `axes` and `fields`", "both or none")
    names = [*(term.axes or term.fields or [])]
    if term.axes is not None:
        sources.slot_of(term.input, key, *TWISTS)
    arrays = single_numbers(term.input, names, term.axes is not None, sources, key)
    start = by_name(term.start, names, sources.file, f"{key}.start")
    gain = by_name(term.gain, names, sources.file, f"{key}.gain") * sources.spec.control_dt
    dead_band = _dead_band(term.dead_band, names, sources, key)
    low, high = bounds_by_name(term.bounds, names, sources.file, f"{key}.bounds")
    for name, x, bottom, top in zip(names, start, low, high, strict=True):
        if not bottom <= x <= top:
            expected = f"a value of {name} within [{bottom:g}, {top:g}]"
            raise refuse(sources.file, f"{key}.start", expected, f"{x:g}")
    rates = np.zeros(len(names))

    def step() -> Array:
        np.concatenate(arrays, out=rates)
        rates[np.abs(rates) < dead_band] = 0.0
        return rates * gain

    asked = bool_of(term.reset.input, sources, f"{key}.reset") if term.reset else lambda: False
    before = term.first == "start_plus_step"
    values = Integrator(start, step, low, high, before, asked)
    sources.clocks.append(values)

    def bind(out: Array) -> Read:
        def read() -> str:
            # A rate that is not finite would stay in the value for ever.
            if not np.all(np.isfinite(step())):
                return f"a rate of {term.input} is not finite"
            np.copyto(out, values.now())
            return ""

        return read

    return absolute(term.name or "integrated_command", tuple(names), bind)
