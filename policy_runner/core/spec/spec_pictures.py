"""Terms of the policy spec whose numbers are pixels, or come from a user's own Python."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, PositiveFloat, PositiveInt

from policy_runner.core.spec.base import Name, Strict
from policy_runner.core.spec.spec_terms import TermArithmetic

Side = Annotated[PositiveInt, Field(le=4096)]  # pixels
PerChannel = FiniteFloat | list[FiniteFloat]
PositivePerChannel = PositiveFloat | list[PositiveFloat]


class ImageTerm(Strict):
    """Pixels of an Image or CompressedImage: crop -> resize -> (x * scale - mean) / std.

    Needs Pillow (the extra `images`), except for an uncompressed image that already has its size.
    """

    term: Literal["image"]
    name: str | None = Field(None, description="default: image")
    input: Name = Field(description="an Image or CompressedImage of `inputs`")
    color: Literal["rgb", "bgr", "gray", "depth"] = Field(
        description="channels of the policy, in this order; depth: one, as the message has it"
    )
    size: Annotated[list[Side], Field(min_length=2, max_length=2)] = Field(
        description="[height, width] of the policy, pixels"
    )
    crop: Annotated[list[int], Field(min_length=4, max_length=4)] | None = Field(
        None, description="[top, left, height, width] of the message's pixels; default: all"
    )
    resize: Literal["nearest", "bilinear", "bicubic", "area", "refuse"] = Field(
        "refuse", description="how pixels get to `size`; default: another size is a fault"
    )
    layout: Literal["chw", "hwc"] = Field(description="channels first or last")
    scale: PerChannel = Field(description="factor, e.g. 0.00392156862745098 for 1/255")
    mean: PerChannel = Field(0.0, description="subtracted after scale, per channel; default 0")
    std: PositivePerChannel = Field(1.0, description="divisor after mean, per channel; default 1")


class CustomTerm(TermArithmetic):
    """A term from an installed package's entry point in the group `policy_runner.terms`."""

    term: Literal["custom"]
    uses: Name = Field(description="name of the entry point")
    parameters: dict[str, Any] = Field({}, description="what it is given; its own business")
