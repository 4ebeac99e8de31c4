"""Terms of commands: twists, integrated rates, a joystick's axes and buttons."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from policy_runner.core.errors import refuse
from policy_runner.core.inputs.slot import Read, SequenceKeeper
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.fields import each_once
from policy_runner.core.observation.terms.gait.conditions import (
    TWISTS,
    bool_of,
    single_numbers,
    small,
)
from policy_runner.core.observation.terms.sources import CompiledTerm, Sources, absolute, compiles
from policy_runner.core.spec import (
    IntegratedCommandTerm,
    JoyCommandTerm,
    JoyElement,
    VelocityCommandTerm,
    ZeroRule,
)
from policy_runner.core.spec.named_numbers import bounds_by_name, by_name

JOY = "sensor_msgs/msg/Joy"


@compiles(VelocityCommandTerm)
def velocity_command(term: VelocityCommandTerm, sources: Sources, key: str) -> CompiledTerm:
    """The axes of a twist, with a dead band and rules that make axes 0."""
    slot = sources.slot(term.input, key)
    if slot.spec.type not in TWISTS:
        expected = "an input of type geometry_msgs/msg/Twist or TwistStamped"
        raise refuse(sources.file, f"{key}.input", expected, slot.spec.type)
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
            for where, conditions in rules:
                if all(holds() for holds in conditions):
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
) -> tuple[list[int], list[Callable[[], bool]]]:
    """(indices of the axes, conditions on the messages as they arrive)."""
    for k, axis in enumerate(rule.axes):
        if axis not in term.axes:
            expected = f"an axis of the term ({', '.join(term.axes)})"
            raise refuse(sources.file, f"{key}.axes[{k}]", expected, axis)
    conditions = [
        small(one, one.input or term.input, sources, f"{key}.when[{k}]")
        for k, one in enumerate(rule.when)
    ]
    return [term.axes.index(axis) for axis in rule.axes], conditions


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
    if term.axes is not None and sources.slot(term.input, key).spec.type not in TWISTS:
        expected = "an input of type geometry_msgs/msg/Twist or TwistStamped"
        raise refuse(
            sources.file, f"{key}.input", expected, sources.slot(term.input, key).spec.type
        )
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


class Toggles:
    """Numbers that change between 0 and 1 at each inference that finds a button newly pressed."""

    def __init__(self, pressed: Callable[[], list[bool]], count: int) -> None:
        self._pressed, self._count = pressed, count
        self._on = [False] * count
        self._before = [False] * count

    def now(self) -> list[bool]:
        """The numbers of the present inference."""
        pairs = zip(self._on, self._before, self._pressed(), strict=True)
        return [on != (pressed and not before) for on, before, pressed in pairs]

    def advance(self) -> None:
        """Count one inference."""
        self._on, self._before = self.now(), self._pressed()

    def reset(self) -> None:
        """All numbers are 0; a button that is held then does not count as newly pressed."""
        self._on, self._before = [False] * self._count, [True] * self._count


@compiles(JoyCommandTerm)
def joy_command(term: JoyCommandTerm, sources: Sources, key: str) -> CompiledTerm:
    """Numbers of a joystick's axes and buttons."""
    slot = sources.slot(term.input, key)
    if slot.spec.type != JOY:
        raise refuse(sources.file, f"{key}.input", f"an input of type {JOY}", slot.spec.type)
    names = [element.name for element in term.elements]
    each_once(names, sources, f"{key}.elements")
    for k, element in enumerate(term.elements):
        _check_element(element, sources, f"{key}.elements[{k}]")
    toggled = [element.toggle for element in term.elements if element.toggle is not None]
    of_buttons = [*toggled, *([term.enable] if term.enable is not None else [])]
    of_buttons += [k for e in term.elements for k in (e.plus, e.minus) if k is not None]
    most_axis = max((e.axis for e in term.elements if e.axis is not None), default=-1)
    most_button = max(of_buttons, default=-1)
    # A Joy without buttons is usable where no button is read.
    axes = slot.sequence("axes") if most_axis >= 0 else SequenceKeeper()
    buttons = slot.sequence("buttons") if most_button >= 0 else SequenceKeeper()
    needed = ((axes, most_axis, "axes"), (buttons, most_button, "buttons"))
    toggles = Toggles(lambda: [_button(buttons, k) for k in toggled], len(toggled))
    if toggled:
        toggles.reset()
        sources.clocks.append(toggles)

    def bind(out: Array) -> Read:
        def read() -> str:
            for keeper, most, what in needed:
                if most >= 0 and keeper.values is None:
                    out.fill(np.nan)
                    return ""
                if keeper.values is not None and most >= keeper.values.size:
                    return f"{keeper.values.size} {what} of the Joy, {most + 1} needed"
            on = iter(toggles.now() if toggled else ())
            enabled = term.enable is None or _button(buttons, term.enable)
            for k, element in enumerate(term.elements):
                if element.toggle is not None:
                    out[k] = _scaled(float(next(on)), element)
                else:
                    out[k] = _scaled(_number(element, axes, buttons), element) if enabled else 0.0
            return ""

        return read

    return absolute(term.name or "joy_command", tuple(names), bind)


def _check_element(element: JoyElement, sources: Sources, key: str) -> None:
    by_buttons = element.plus is not None or element.minus is not None
    given = [element.axis is not None, by_buttons, element.toggle is not None]
    if sum(given) != 1:
        expected = "one of `axis`, `plus` with `minus`, and `toggle`"
        raise refuse(sources.file, key, expected, "none" if not any(given) else "several")
    if element.axis is None and (element.dead_zone or element.rescaled):
        raise refuse(sources.file, key, "a dead zone only with `axis`", "one of buttons")


def _button(buttons: SequenceKeeper, index: int) -> bool:
    values = buttons.values
    return values is not None and index < values.size and bool(values[index] > 0.5)


def _number(element: JoyElement, axes: SequenceKeeper, buttons: SequenceKeeper) -> float:
    if element.axis is None:
        plus = element.plus is not None and _button(buttons, element.plus)
        minus = element.minus is not None and _button(buttons, element.minus)
        return float(plus) - float(minus)
    assert axes.values is not None
    x = float(axes.values[element.axis])
    if abs(x) < element.dead_zone:
        return 0.0
    if element.rescaled:
        return float(np.sign(x)) * (abs(x) - element.dead_zone) / (1.0 - element.dead_zone)
    return x


def _scaled(x: float, element: JoyElement) -> float:
    if x < 0.0 and element.negative is not None:
        return x * element.negative
    return x * element.positive
