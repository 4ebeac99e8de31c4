"""The terms of commands: twists, integrated rates, a joystick's axes and buttons."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveFloat

from policy_runner.core.spec.base import (
    Axes,
    Name,
    NamedNumbers,
    Names,
    Ranges,
    Strict,
    TermArithmetic,
)
from policy_runner.core.spec.clock_terms import PhaseRestart


class SmallSignal(Strict):
    """A condition: the Euclidean norm of some numbers of a message is small."""

    input: Name | None = Field(None, description="a name of `inputs`; default: the term's input")
    axes: Axes | None = Field(None, description="axes of a Twist or TwistStamped; default: none")
    groups: Annotated[list[Names], Field(min_length=1)] | None = Field(
        None, description="axes or paths in groups, each with its own norm; default: none"
    )
    fields: Names | None = Field(
        None, description="paths in a message, such as angular_velocity.z; default: none"
    )
    below: PositiveFloat | list[PositiveFloat] = Field(
        description="the norm is small below this, or one number per group"
    )
    inclusive: bool = Field(False, description="also small at exactly `below`; default false")


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


class JoyCommandTerm(TermArithmetic):
    """Numbers of a sensor_msgs/Joy."""

    term: Literal["joy_command"]
    input: Name = Field(description="a Joy of `inputs`")
    elements: Annotated[list[JoyElement], Field(min_length=1)] = Field(
        description="numbers of the term, in this order"
    )
    enable: NonNegativeInt | None = Field(
        None,
        description="index in `buttons`: while it is not pressed, all numbers except toggles are"
        " 0; default: always on",
    )
