"""Observation terms: each becomes one function that writes its numbers into the frame.

Here a term only reads; minus relative_to, wrap, clip, scale and offset are done for the
whole frame at once in `observation/arithmetic.py`, which is what keeps a tick short.

A new term is a model in `core/spec/terms.py` and a function with `@compiles(Model)` in a file here.
"""

from __future__ import annotations

from policy_runner.core.observation.terms import (
    clocks,
    custom,
    fields,
    image,
    joints,
    motion,
    orientation,
)
from policy_runner.core.observation.terms.sources import COMPILERS, CompiledTerm, Sources
from policy_runner.core.spec import Term

# Importing a family registers its terms.
FAMILIES = (clocks, custom, fields, image, joints, motion, orientation)


def compile_term(term: Term, sources: Sources, key: str) -> CompiledTerm:
    """Resolve names to arrays, once.

    Raises:
        Refusal: an input, field or joint that is not there.
    """
    return COMPILERS[type(term)](term, sources, key)
