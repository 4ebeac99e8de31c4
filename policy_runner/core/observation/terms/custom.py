"""Custom terms: an installed package's entry point in the group `policy_runner.terms`.

The entry point names a callable `make(parameters, request) -> UserTerm`. `parameters` is the
mapping from the spec. To read the robot's data, a term calls `request(input, field, size=None)`;
it returns the float64 array that the field of a message is written to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, Protocol

from policy_runner.core.errors import did_you_mean, refuse
from policy_runner.core.inputs.slot import Read
from policy_runner.core.model import Array
from policy_runner.core.observation.terms.sources import CompiledTerm, Sources, absolute, compiles
from policy_runner.core.spec import CustomTerm

GROUP = "policy_runner.terms"


class UserTerm(Protocol):
    """Interface of the term that an entry point makes."""

    @property
    def elements(self) -> Sequence[str]:
        """Names of the numbers, one per number."""

    def read(self, out: Array) -> str:
        """Write the numbers, float64 [elements], to `out`. Return '' or why that is impossible."""

    def advance(self) -> None:
        """Count one inference; the policy calls this after each."""

    def reset(self) -> None:
        """Return to the state before the first inference."""


MakeTerm = Callable[[Mapping[str, Any], Callable[..., Array]], UserTerm]


@compiles(CustomTerm)
def custom(term: CustomTerm, sources: Sources, key: str) -> CompiledTerm:
    """A custom term.

    Raises:
        Refusal: there is no such entry point, it does not load, or its result is no `UserTerm`.
    """
    known = {point.name: point for point in entry_points(group=GROUP)}
    if term.uses not in known:
        expected = f"an entry point of the group {GROUP} ({', '.join(known) or 'none installed'})"
        hint = did_you_mean(term.uses, known)
        raise refuse(sources.file, f"{key}.uses", expected, f"'{term.uses}'", hint)

    def request(input_name: str, field: str, size: int | None = None) -> Array:
        return sources.numbers(sources.slot(input_name, key), field, size, f"{key}.uses")

    try:
        make: MakeTerm = known[term.uses].load()
        made = make(term.parameters, request)
        elements = tuple(str(element) for element in made.elements)
        read_into, advance, reset = made.read, made.advance, made.reset
    except (ImportError, AttributeError, TypeError, ValueError, KeyError) as error:
        expected = "an entry point that makes a term (elements, read, advance, reset)"
        got = f"{type(error).__name__}: {error}"
        raise refuse(sources.file, f"{key}.uses", expected, got) from error
    sources.clocks.append(_UserClock(advance, reset))

    def bind(out: Array) -> Read:
        def read() -> str:
            try:
                return read_into(out)
            except Exception as error:  # noqa: BLE001 -- a user's error must not end the loop
                return f"{term.uses} raised {type(error).__name__}: {error}"

        return read

    return absolute(term.name or term.uses, elements, bind)


class _UserClock:
    def __init__(self, advance: Callable[[], None], reset: Callable[[], None]) -> None:
        self.advance, self.reset = advance, reset
