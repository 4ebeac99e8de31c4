"""The limits that a policy spec tells."""

from __future__ import annotations

from pydantic import Field, FiniteFloat, PositiveFloat

from policy_runner.core.spec.base import Strict


class Limit(Strict):
    """What the robot may be commanded to; in the unit of the command and the policy's sense."""

    lower: FiniteFloat | None = Field(None, description="least command; default: none")
    upper: FiniteFloat | None = Field(None, description="largest command; default: none")
    max_rate: PositiveFloat | None = Field(
        None, description="largest change per second; default: none"
    )

    def or_else(self, other: Limit) -> Limit:
        """This one, with what it does not say from the other."""
        pairs = ((self.lower, other.lower), (self.upper, other.upper))
        lower, upper = (b if a is None else a for a, b in pairs)
        rate = other.max_rate if self.max_rate is None else self.max_rate
        return Limit(lower=lower, upper=upper, max_rate=rate)


NO_LIMIT = Limit()
