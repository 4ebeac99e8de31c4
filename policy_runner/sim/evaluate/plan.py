"""What the episodes of an evaluation draw: commands, and the conditions of robot and messages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.spec import PolicySpec
from policy_runner.core.spec.command_terms import VelocityCommandTerm

Span = tuple[float, float]  # lowest and highest; an episode draws uniformly between them
# Short name -> axis of a twist, in the order of `InputFeed.command`.
AXES = {
    "vx": "linear.x",
    "vy": "linear.y",
    "vz": "linear.z",
    "wx": "angular.x",
    "wy": "angular.y",
    "wz": "angular.z",
}
# m/s and rad/s, for a policy whose spec has no trained range. Sideways is rarely trained.
_USUAL = {"vx": (-0.5, 0.5), "wz": (-0.5, 0.5)}
# Commands at the edge of the training are no test of the robot.
_OF_TRAINED_RANGE = 0.6


class Condition(NamedTuple):
    """One thing that may differ from the nominal robot."""

    nominal: float
    lowest: float  # smallest permitted value
    unit: str
    text: str


CONDITIONS: dict[str, Condition] = {
    "command_delay": Condition(0.0, 0.0, "s", "delay of a command until the actuators have it"),
    "mass": Condition(1.0, 0.05, "", "factor on mass and inertia of the base"),
    "friction": Condition(1.0, 0.0, "", "factor on the sliding friction of every geom"),
    "imu_noise": Condition(
        0.0, 0.0, "rad/s", "noise of the gyro; orientation and acceleration get their shares"
    ),
    "joint_offset": Condition(
        0.0, 0.0, "rad", "error of every joint's zero, with a random sign for each joint"
    ),
    "packet_loss": Condition(0.0, 0.0, "", "share of the sensors' messages that are lost"),
    "push": Condition(0.0, 0.0, "N", "horizontal force on the base for 0.1 s, every 4 to 8 s"),
}
RATE = "rate"  # of the control loop [Hz]; it binds the policy, so no episode draws it


@dataclass(frozen=True)
class Conditions:
    """Ranges by name of `CONDITIONS`; the defaults are nominal."""

    command_delay: Span = (0.0, 0.0)
    mass: Span = (1.0, 1.0)
    friction: Span = (1.0, 1.0)
    imu_noise: Span = (0.0, 0.0)
    joint_offset: Span = (0.0, 0.0)
    packet_loss: Span = (0.0, 0.0)
    push: Span = (0.0, 0.0)

    def with_value(self, name: str, span: Span) -> Conditions:
        """Replace one range."""
        return replace(self, **{name: span})

    def as_json(self) -> dict[str, list[float]]:
        """The ranges for a report."""
        return {one.name: list(getattr(self, one.name)) for one in fields(self)}


@dataclass(frozen=True)
class Plan:
    """How episodes are run.

    Attributes:
        episodes: their number.
        seconds: simulated duration of one [s], unless the robot falls.
        seed: episode k draws everything from the pair (seed, k).
        commands: short axis name -> range [m/s] or [rad/s]. Other axes are 0.
        conditions: of robot and messages.
        fall_tilt: a base that tilts by more has fallen [rad].
        fall_height: a floating base below this share of its start height has fallen; 0: never.
    """

    episodes: int = 20
    seconds: float = 20.0
    seed: int = 0
    commands: Mapping[str, Span] = field(default_factory=dict)
    conditions: Conditions = Conditions()
    fall_tilt: float = 0.8
    fall_height: float = 0.5

    def as_json(self) -> dict[str, object]:
        """The plan for a report."""
        return {
            "episodes": self.episodes,
            "seconds": self.seconds,
            "seed": self.seed,
            "commands": {axis: list(span) for axis, span in self.commands.items()},
            "conditions": self.conditions.as_json(),
            "fall_tilt": self.fall_tilt,
            "fall_height": self.fall_height,
        }


def read_conditions(texts: Sequence[str]) -> Conditions:
    """Read `NAME=VALUE` or `NAME=LOW:HIGH`.

    Raises:
        Refusal: an unknown name, or a number that the condition does not take.
    """
    conditions = Conditions()
    for text in texts:
        name, _, given = text.partition("=")
        check_condition("--with", name)
        conditions = conditions.with_value(name, _span(given, "--with", text))
        for end in getattr(conditions, name):
            check_value("--with", name, end)
    return conditions


def read_commands(texts: Sequence[str]) -> dict[str, Span]:
    """Read `AXIS=VALUE` or `AXIS=LOW:HIGH`; an axis is a key of `AXES` or its value.

    Raises:
        Refusal: an unknown axis, or no numbers.
    """
    long = {value: key for key, value in AXES.items()}
    found: dict[str, Span] = {}
    for text in texts:
        name, _, given = text.partition("=")
        axis = long.get(name, name)
        if axis not in AXES:
            hint = did_you_mean(name, [*AXES, *long])
            raise refuse("", "--command", f"one of {', '.join(AXES)}", repr(name), hint)
        found[axis] = _span(given, "--command", text)
    return found


def check_condition(option: str, name: str, also: Sequence[str] = ()) -> None:
    """Refuse an unknown condition.

    Args:
        option: of the command line.
        name: of `CONDITIONS`.
        also: further names.

    Raises:
        Refusal: the name is unknown.
    """
    known = [*CONDITIONS, *also]
    if name not in known:
        expected = f"one of {', '.join(known)}"
        raise refuse("", option, expected, repr(name), did_you_mean(name, known))


def check_value(option: str, name: str, value: float) -> None:
    """Refuse a value that a condition does not take.

    Raises:
        Refusal: it is too small, or a share above 1.
    """
    lowest = 1.0 if name == RATE else CONDITIONS[name].lowest
    if value < lowest or (name == "packet_loss" and value > 1.0):
        most = " to 1" if name == "packet_loss" else " or more"
        raise refuse("", f"{option} {name}", f"{lowest:g}{most}", f"{value:g}")


def number(text: str, option: str, whole: str) -> float:
    """Read a finite number.

    Args:
        text: the number.
        option: of the command line.
        whole: the option's value, for the error.

    Raises:
        Refusal: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise refuse("", option, "numbers, such as NAME=1.5 or NAME=0.5:1.5", repr(whole))
    return value


def default_commands(spec: PolicySpec) -> dict[str, Span]:
    """Ranges for the axes that a policy's velocity commands have.

    Returns:
        0.6 of the trained range if the spec states it; else +-0.5 m/s forward and +-0.5 rad/s.
        Empty: the policy has no velocity command.
    """
    found: dict[str, Span] = {}
    short = {value: key for key, value in AXES.items()}
    for tensor in spec.observation:
        for term in tensor.terms or []:
            if not isinstance(term, VelocityCommandTerm):
                continue
            for axis in term.axes:
                key = short[axis]
                span = _trained(term, axis)
                if span is None:
                    span = _USUAL.get(key, (0.0, 0.0))
                found[key] = span
    return found


def _trained(term: VelocityCommandTerm, axis: str) -> Span | None:
    """A part of the axis's trained range; None where the spec does not state both ends."""
    given: object = term.range
    if isinstance(given, Mapping):
        given = given.get(axis)
    elif isinstance(given, list) and given and isinstance(given[0], list):
        given = given[list[str](term.axes).index(axis)] if len(given) == len(term.axes) else None
    if not isinstance(given, list) or None in given:
        return None
    low, high = (float(end) for end in given)
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    return low * _OF_TRAINED_RANGE, high * _OF_TRAINED_RANGE


def _span(text: str, option: str, whole: str) -> Span:
    first, separator, second = text.partition(":")
    low = number(first, option, whole)
    high = number(second, option, whole) if separator else low
    if high < low:
        raise refuse("", option, "LOW:HIGH with LOW at most HIGH", repr(whole))
    return low, high
