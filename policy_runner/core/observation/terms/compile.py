"""Compile observation terms: each becomes one function that writes its numbers into the frame.

A term only reads. `observation/arithmetic.py` does minus relative_to, wrap, clip, scale and offset
for the whole frame at once, which keeps a tick short.

To add a term, add a model in `core/spec/*terms.py` and a function with `@compiles(Model)` in a file
of this folder.
"""

from __future__ import annotations

from policy_runner.core.observation.terms import (
    clocks,
    commands,
    custom,
    fields,
    image,
    joints,
    joystick,
    model_outputs,
    motion,
    orientation,
)
from policy_runner.core.observation.terms.bodies import relations
from policy_runner.core.observation.terms.pixels import occupancy_grid
from policy_runner.core.observation.terms.sources import COMPILERS, CompiledTerm, Sources
from policy_runner.core.spec import FrameTerm

# Importing a family registers its terms.
FAMILIES = (
    *(clocks, commands, custom, fields, image, joints, joystick, model_outputs, motion),
    *(occupancy_grid, orientation, relations),
)


def compile_term(term: FrameTerm, sources: Sources, key: str) -> CompiledTerm:
    """Compile one term: resolve its names to arrays, once.

    Args:
        term: the term in the spec.
        sources: the data that terms read.
        key: the term's key in the spec, for error messages.

    Raises:
        Refusal: an input, field or joint does not exist.
    """
    return COMPILERS[type(term)](term, sources, key)
