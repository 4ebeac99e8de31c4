"""Every term of the spec has a compiler, so a missing one is found before a policy is loaded."""

from __future__ import annotations

from typing import get_args

from policy_runner.core.observation.terms.compile import FAMILIES
from policy_runner.core.observation.terms.sources import COMPILERS
from policy_runner.core.spec import ModelOutputTerm, Term


def test_every_term_of_the_spec_has_its_compiler() -> None:
    union, _ = get_args(Term)
    models = {*get_args(union), ModelOutputTerm}
    assert len(models) > 15
    assert set(COMPILERS) == models
    families = {family.__name__ for family in FAMILIES}
    assert {compiler.__module__ for compiler in COMPILERS.values()} == families
