"""The term of a joystick: its axes and buttons, toggles, and values that they move."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.inputs.slot import Read, SequenceKeeper
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.fields import each_once
from policy_runner.core.observation.terms.sources import CompiledTerm, Sources, absolute, compiles
from policy_runner.core.spec import JoyCommandTerm, JoyElement

JOY = "sensor_msgs/msg/Joy"


class Stick:
    """The axes and buttons of the newest Joy."""

    def __init__(self, axes: SequenceKeeper, buttons: SequenceKeeper) -> None:
        self._axes, self._buttons = axes, buttons

    def pressed(self, index: int | None) -> bool:
        """Whether this button is pressed; a button that the Joy lacks is not."""
        values = self._buttons.values
        return (
            index is not None
            and values is not None
            and index < values.size
            and bool(values[index] > 0.5)
        )

    def pair(self, element: JoyElement) -> tuple[bool, bool]:
        """Whether the element's `plus` and its `minus` are pressed."""
        return self.pressed(element.plus), self.pressed(element.minus)

    def number(self, element: JoyElement) -> float:
        """The element's axis after its dead zone, or `plus` minus `minus`."""
        if element.axis is None:
            plus, minus = self.pair(element)
            return float(plus) - float(minus)
        assert self._axes.values is not None
        x = float(self._axes.values[element.axis])
        if abs(x) < element.dead_zone:
            return 0.0
        if element.rescaled:
            return float(np.sign(x)) * (abs(x) - element.dead_zone) / (1.0 - element.dead_zone)
        return x


class Toggles:
    """Numbers that change between 0 and 1 at each inference that finds a button newly pressed."""

    def __init__(self, pressed: Callable[[], list[bool]], count: int) -> None:
        self._pressed, self._count = pressed, count
        self._on = [False] * count
        self._before = [False] * count

    def now(self) -> list[bool]:
        """The numbers of the present inference."""
        return self._changed(self._pressed())

    def _changed(self, pressed: list[bool]) -> list[bool]:
        each = zip(self._on, self._before, pressed, strict=True)
        return [on != (held and not before) for on, before, held in each]

    def advance(self) -> None:
        """Count one inference."""
        pressed = self._pressed()
        self._on, self._before = self._changed(pressed), pressed

    def reset(self) -> None:
        """All numbers are 0; a button that is held then does not count as newly pressed."""
        self._on, self._before = [False] * self._count, [True] * self._count


class MovedValue:
    """A value that buttons or an axis move by steps, before each inference, within bounds."""

    def __init__(self, element: JoyElement, stick: Stick) -> None:
        """Begin at the element's start.

        Args:
            element: the element, with `move`.
            stick: the joystick.
        """
        assert element.move is not None
        self._element, self._move, self._stick = element, element.move, stick
        low, high = element.move.bounds or (None, None)
        self._low = -np.inf if low is None else low
        self._high = np.inf if high is None else high
        self._value = element.move.start
        self._before = (True, True)  # plus, minus

    def now(self) -> float:
        """The value of the present inference."""
        if self._move.by == "press":
            plus, minus = (
                now and not before
                for now, before in zip(self._stick.pair(self._element), self._before, strict=True)
            )
            number = float(plus) - float(minus)
        else:
            number = self._stick.number(self._element)
        moved = self._value + _scaled(number, self._element) * self._move.step
        return float(min(max(moved, self._low), self._high))

    def advance(self) -> None:
        """Count one inference."""
        self._value, self._before = self.now(), self._stick.pair(self._element)

    def reset(self) -> None:
        """Return to `start`; a button that is held then does not count as newly pressed."""
        self._value, self._before = self._move.start, (True, True)


@compiles(JoyCommandTerm)
def joy_command(term: JoyCommandTerm, sources: Sources, key: str) -> CompiledTerm:
    """Numbers of a joystick's axes and buttons, and values that they move."""
    slot = sources.slot_of(term.input, key, JOY)
    names = [element.name for element in term.elements]
    each_once(names, sources, f"{key}.elements")
    for k, element in enumerate(term.elements):
        _check_element(element, sources, f"{key}.elements[{k}]")
    toggled = [element.toggle for element in term.elements if element.toggle is not None]
    of_buttons = [*toggled, *([term.enable] if isinstance(term.enable, int) else [])]
    switch = _enabling_toggle(term, sources, f"{key}.enable")
    of_buttons += [k for e in term.elements for k in (e.plus, e.minus) if k is not None]
    most_axis = max((e.axis for e in term.elements if e.axis is not None), default=-1)
    most_button = max(of_buttons, default=-1)
    # A Joy without buttons is usable where no button is read.
    axes = slot.sequence("axes") if most_axis >= 0 else SequenceKeeper()
    buttons = slot.sequence("buttons") if most_button >= 0 else SequenceKeeper()
    needed = ((axes, most_axis, "axes"), (buttons, most_button, "buttons"))
    stick = Stick(axes, buttons)
    toggles = Toggles(lambda: [stick.pressed(k) for k in toggled], len(toggled))
    if toggled:
        toggles.reset()
        sources.clocks.append(toggles)
    moved = {
        k: MovedValue(element, stick)
        for k, element in enumerate(term.elements)
        if element.move is not None
    }
    sources.clocks.extend(moved.values())

    def bind(out: Array) -> Read:
        def read() -> str:
            for keeper, most, what in needed:
                if most >= 0 and keeper.values is None:
                    out.fill(np.nan)
                    return ""
                if keeper.values is not None and most >= keeper.values.size:
                    return f"{keeper.values.size} {what} of the Joy, {most + 1} needed"
            on = toggles.now() if toggled else []
            enabled = on[switch] if switch is not None else term.enable is None
            enabled = enabled or (isinstance(term.enable, int) and stick.pressed(term.enable))
            next_toggle = iter(on)
            for k, element in enumerate(term.elements):
                if element.toggle is not None:
                    out[k] = _scaled(float(next(next_toggle)), element)
                elif k in moved:
                    out[k] = moved[k].now()
                else:
                    out[k] = _scaled(stick.number(element), element) if enabled else 0.0
            return ""

        return read

    return absolute(term.name or "joy_command", tuple(names), bind)


def _enabling_toggle(term: JoyCommandTerm, sources: Sources, key: str) -> int | None:
    """The place of the toggle that `enable` names among the toggles; None: it names none."""
    if not isinstance(term.enable, str):
        return None
    names = [element.name for element in term.elements if element.toggle is not None]
    if term.enable not in names:
        expected = f"an index in `buttons`, or a toggle of this term ({', '.join(names) or 'none'})"
        hint = did_you_mean(term.enable, names)
        raise refuse(sources.file, key, expected, f"'{term.enable}'", hint)
    return names.index(term.enable)


def _check_element(element: JoyElement, sources: Sources, key: str) -> None:
    by_buttons = element.plus is not None or element.minus is not None
    given = [element.axis is not None, by_buttons, element.toggle is not None]
    if sum(given) != 1:
        expected = "one of `axis`, `plus` with `minus`, and `toggle`"
        raise refuse(sources.file, key, expected, "none" if not any(given) else "several")
    if element.axis is None and (element.dead_zone or element.rescaled):
        raise refuse(sources.file, key, "a dead zone only with `axis`", "one of buttons")
    move = element.move
    if move is None:
        return
    if element.toggle is not None:
        raise refuse(sources.file, f"{key}.move", "an axis or buttons for `move`", "a toggle")
    if move.by == "press" and element.axis is not None:
        raise refuse(sources.file, f"{key}.move.by", "hold, since an axis has no presses", "press")
    low, high = move.bounds or (None, None)
    if (low is not None and move.start < low) or (high is not None and move.start > high):
        raise refuse(
            sources.file, f"{key}.move.start", f"a value within {move.bounds}", f"{move.start:g}"
        )


def _scaled(x: float, element: JoyElement) -> float:
    if x < 0.0 and element.negative is not None:
        return x * element.negative
    return x * element.positive
