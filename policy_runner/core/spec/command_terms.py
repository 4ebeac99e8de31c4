"""The terms of commands, and the terms that count inferences, which commands hold."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveFloat

from policy_runner.core.spec.base import (
    Axes,
    Name,
    NamedNumbers,
    Names,
    Range,
    Ranges,
    SmallSignal,
    Strict,
    TermArithmetic,
)


class PhaseHold(Strict):
    """Holds the clock while the command is small, or while a Bool says so.

    `axes`, `groups` or `fields` name the numbers of a command; `when` belongs to a Bool.
    """

    input: Name = Field(description="a Twist, a TwistStamped, a Bool, or any message for `fields`")
    axes: Axes | None = Field(
        None,
        description="axes of the Euclidean norm; default: linear.x, linear.y, angular.z of a twist",
    )
    groups: Annotated[list[Names], Field(min_length=1)] | None = Field(
        None,
        description="axes (of a twist) or paths in groups: held while the norm of every group is"
        " small; default: one group",
    )
    fields: Names | None = Field(
        None, description="paths of the norm's numbers in another message; default: none"
    )
    below: PositiveFloat | list[PositiveFloat] | None = Field(
        None,
        description="the clock is held while the norm is below this, or one number per group;"
        " needed except for a Bool",
    )
    inclusive: bool = Field(False, description="also held at exactly `below`; default false")
    when: bool = Field(True, description="value of the Bool that holds the clock; default true")
    clock: Literal["freeze", "run", "restart"] = Field(
        "freeze",
        description="the clock itself while held. freeze: it stands still; run: it runs on, only"
        " what is shown is fixed; restart: it starts again when it is released; default freeze",
    )
    at: FiniteFloat | list[FiniteFloat] | None = Field(
        None,
        description="phase that every clock shows while it is held, cycles; default: the phase at"
        " which it stands, with restart its start",
    )
    shown: NamedNumbers | None = Field(
        None,
        description="the term's numbers while it is held, such as 0, instead of the phase `at`;"
        " default: from the phase",
    )
    restart_from: Literal["start", "at"] = Field(
        "start", description="with restart: from `start` and `offsets`, or from `at`; default start"
    )
    first: Literal["start", "start_plus_step"] = Field(
        "start", description="with restart: phase of the first released inference; default start"
    )


class PhaseRestart(Strict):
    """Starts the clock again at the inference at which a Bool becomes true."""

    input: Name = Field(description="a std_msgs/Bool of `inputs`")


class PhaseFrequency(Strict):
    """The clock's frequency by command: a number of a message, or a function of a norm."""

    input: Name = Field(description="a name of `inputs`")
    axes: Axes | None = Field(None, description="axes of a Twist or TwistStamped; default: none")
    fields: Names | None = Field(None, description="paths in another message; default: none")
    points: (
        Annotated[
            list[Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]],
            Field(min_length=1),
        ]
        | None
    ) = Field(
        None,
        description="[norm, Hz] in rising order, linear in between and constant outside; at a norm"
        " that is listed twice the second one counts. Default: the one number is the frequency, Hz",
    )
    clip: Range | None = Field(None, description="[low, high] of the frequency, Hz; default: none")


class PhaseClockTerm(TermArithmetic):
    """sin and cos of 2 pi (start + k control_dt / period + offset), k inferences since reset."""

    term: Literal["phase_clock"]
    period: PositiveFloat | None = Field(
        None, description="period of the clock, s; this or `frequency` is needed"
    )
    frequency: PhaseFrequency | None = Field(
        None, description="instead of `period`, by command; default: none"
    )
    offsets: Annotated[list[FiniteFloat], Field(min_length=1)] = Field(
        [0.0], description="offset of each clock, cycles; default one clock at 0"
    )
    start: FiniteFloat = Field(0.0, description="phase at reset, cycles; default 0")
    first: Literal["start", "start_plus_step"] = Field(
        "start",
        description="start: the clock advances after each inference; start_plus_step: before each,"
        " so the first one shows `start` plus one step; default start",
    )
    parts: Annotated[list[Literal["sin", "cos", "phase"]], Field(min_length=1)] = Field(
        ["sin", "cos"], description="phase: in cycles, [0, 1); default sin, cos"
    )
    layout: Literal["by_part", "by_clock"] = Field(
        "by_part", description="by_part: sin of all clocks, then cos; by_clock: sin cos of each"
    )
    hold: PhaseHold | None = Field(None, description="default: never held")
    restart: PhaseRestart | None = Field(
        None, description="start again by a Bool; default: only at a reset"
    )


class StepCounterTerm(TermArithmetic):
    """Inferences since reset: `start` for `delay` + 1 inferences, then + 1 per inference."""

    term: Literal["step_counter"]
    start: FiniteFloat = Field(0.0, description="value at reset; default 0")
    delay: NonNegativeInt = Field(0, description="additional inferences at start; default 0")
    last: FiniteFloat | None = Field(None, description="largest value; default: none")
    end: Literal["hold", "loop"] = Field(
        "hold", description="after `last`: stay there, or continue with start; default hold"
    )


class FirstStepTerm(TermArithmetic):
    """1 at the first inference after a reset, 0 at all others."""

    term: Literal["first_step"]


class ZeroRule(Strict):
    """Axes of a command that are 0 while all of its conditions hold."""

    axes: Axes = Field(description="axes of the term that become 0")
    when: Annotated[list[SmallSignal], Field(min_length=1)] = Field(
        description="conditions; all of them must hold"
    )


class VelocityCommandTerm(TermArithmetic):
    """A Twist's or TwistStamped's axes, clamped to the trained range after the dead band."""

    term: Literal["velocity_command"]
    input: Name = Field(description="a Twist or TwistStamped of `inputs`")
    axes: Axes = Field(
        ["linear.x", "linear.y", "angular.z"],
        description="m/s and rad/s, body frame; default: linear.x, linear.y, angular.z",
    )
    dead_band: NamedNumbers = Field(
        0.0, description="smaller magnitudes become 0, m/s or rad/s; default 0"
    )
    zero: list[ZeroRule] = Field(
        [], description="axes that are 0 while other signals are small; default: none"
    )
    range: Ranges | None = Field(
        None, description="trained range, m/s or rad/s: clamped before clip, scale and offset"
    )


class IntegratedCommandTerm(TermArithmetic):
    """Numbers moved by rates: value + rate * gain * control_dt per inference, within bounds."""

    term: Literal["integrated_command"]
    input: Name = Field(description="a name of `inputs` that has the rates")
    axes: Axes | None = Field(None, description="axes of a Twist or TwistStamped; default: none")
    fields: Names | None = Field(None, description="paths in another message; default: none")
    start: NamedNumbers = Field(description="value at reset, per axis or path")
    gain: NamedNumbers = Field(1.0, description="units per second and unit of rate; default 1")
    dead_band: NamedNumbers = Field(0.0, description="smaller rates count as 0; default 0")
    bounds: Ranges | None = Field(
        None, description="the value itself stays within them; default: none"
    )
    first: Literal["start", "start_plus_step"] = Field(
        "start",
        description="start: the value moves after each inference; start_plus_step: before each;"
        " default start",
    )
    reset: PhaseRestart | None = Field(
        None, description="the value is `start` while this Bool is true; default: never"
    )


class JoyMove(Strict):
    """Makes a number of a joystick a value that its buttons or its axis move."""

    start: FiniteFloat = Field(description="value at reset")
    step: PositiveFloat = Field(
        description="change per press, or per inference; times the number of the buttons or axis"
    )
    by: Literal["press", "hold"] = Field(
        description="press: at each inference that finds a button newly pressed; hold: at every"
        " inference while it is pressed, or while the axis is out of its dead zone"
    )
    bounds: Range | None = Field(None, description="the value stays within them; default: none")


class JoyElement(Strict):
    """One number of a joystick: an axis, two buttons, or a button that toggles."""

    name: Name = Field(description="name of the number")
    axis: NonNegativeInt | None = Field(None, description="index in `axes`; default: none")
    plus: NonNegativeInt | None = Field(
        None, description="index in `buttons` that counts 1; default: none"
    )
    minus: NonNegativeInt | None = Field(
        None, description="index in `buttons` that counts -1; default: none"
    )
    toggle: NonNegativeInt | None = Field(
        None,
        description="index in `buttons`: the number changes between 0 and 1 at each inference that"
        " finds the button newly pressed; default: none",
    )
    dead_zone: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="smaller magnitudes of the axis become 0; default 0"
    )
    rescaled: bool = Field(
        False, description="the rest of the axis is stretched to 0 ... 1; default false"
    )
    positive: FiniteFloat = Field(1.0, description="factor of a positive number; default 1")
    negative: FiniteFloat | None = Field(
        None, description="factor of a negative number; default: as positive"
    )
    move: JoyMove | None = Field(
        None,
        description="the number is a value that the axis or the buttons move, before each"
        " inference; default: it is the axis or the buttons themselves",
    )


class JoyCommandTerm(TermArithmetic):
    """Numbers of a sensor_msgs/Joy."""

    term: Literal["joy_command"]
    input: Name = Field(description="a Joy of `inputs`")
    elements: Annotated[list[JoyElement], Field(min_length=1)] = Field(
        description="numbers of the term, in this order"
    )
    enable: NonNegativeInt | Name | None = Field(
        None,
        description="index in `buttons`, or name of a toggle of this term: while it is not pressed,"
        " or 0, all numbers except toggles and moved values are 0; default: always on",
    )
