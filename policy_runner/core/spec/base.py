"""Base types of the policy spec: strict models, kinds of numbers, arithmetic of every term."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat

Name = Annotated[str, Field(min_length=1)]
Names = Annotated[list[Name], Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
# One number for all elements, one per element in their order, or by element name. A key may be a
# regular expression that matches whole names; see `named_numbers`.
NamedNumbers = FiniteFloat | list[FiniteFloat] | dict[str, FiniteFloat]
Bound = float | None
Range = Annotated[list[Bound], Field(min_length=2, max_length=2)]  # [low, high], null = open
Ranges = Range | list[Range] | dict[str, Range]  # for all, one per element, or by name
# By name, or by position (0 is the first) if a model repeats names.
TensorName = Name | Annotated[int, Field(ge=0, strict=True)]

Axis = Literal["linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z"]
Axes = Annotated[list[Axis], Field(min_length=1)]


class Strict(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TermArithmetic(Strict):
    """Arithmetic on a term after reading, in this order; `order` can swap clip and scale."""

    name: str | None = Field(
        None, description="name in diagnostics, history and per-term statistics; default: term"
    )
    wrap: NamedNumbers | None = Field(
        None, description="period > 0, term's unit; result in [-period/2, period/2); 0: no wrap"
    )
    nonfinite: dict[Literal["nan", "inf", "-inf"], FiniteFloat] | None = Field(
        None, description="numbers that replace NaN, inf and -inf; default: a fault"
    )
    clip: Ranges | None = Field(None, description="[low, high], null is open; default: none")
    scale: NamedNumbers = Field(1.0, description="factor, 0 allowed; default 1")
    offset: NamedNumbers = Field(0.0, description="added last; default 0")
    order: Literal["clip_scale", "scale_clip"] = Field(
        "clip_scale", description="which of clip and scale is first; default clip_scale"
    )


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


class Limit(Strict):
    """The limits of a command, in the command's unit and with the policy's sign."""

    lower: FiniteFloat | None = Field(None, description="smallest command; default: none")
    upper: FiniteFloat | None = Field(None, description="largest command; default: none")
    max_rate: PositiveFloat | None = Field(
        None, description="largest change per second; default: none"
    )

    def or_else(self, other: Limit) -> Limit:
        """Fill unset fields from `other`."""
        pairs = ((self.lower, other.lower), (self.upper, other.upper))
        lower, upper = (b if a is None else a for a, b in pairs)
        rate = other.max_rate if self.max_rate is None else self.max_rate
        return Limit(lower=lower, upper=upper, max_rate=rate)


NO_LIMIT = Limit()
