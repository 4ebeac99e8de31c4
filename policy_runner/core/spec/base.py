"""What the parts of the policy spec are made of: strict models, and kinds of numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Name = Annotated[str, Field(min_length=1)]
Names = Annotated[list[Name], Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
# One number for all elements, one per element in their order, or by element name, where a key
# may be a regular expression that matches whole names; see `named_numbers`.
NamedNumbers = FiniteFloat | list[FiniteFloat] | dict[str, FiniteFloat]
Bound = float | None
Range = Annotated[list[Bound], Field(min_length=2, max_length=2)]  # [low, high], null = open
Ranges = Range | list[Range] | dict[str, Range]  # for all, one per element, or by name
# By name, or by position (0 first) where a model repeats names.
TensorName = Name | Annotated[int, Field(ge=0, strict=True)]


class Strict(BaseModel):
    """Frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
