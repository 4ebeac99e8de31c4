"""The terms that count inferences: phase clocks, step counters, the first step."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveFloat

from policy_runner.core.spec.base import (
    Axes,
    Name,
    NamedNumbers,
    Names,
    Range,
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
