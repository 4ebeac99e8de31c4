"""What-ifs are judged against the same episodes without the fault."""

from __future__ import annotations

from typing import Any

import pytest

from policy_runner.sim.evaluate.scoring import Episode
from policy_runner.sim.evaluate.summary import summarize
from policy_runner.sim.evaluate.what_if import FALLS, STOPS, UNNOTICED, Mutant, judge


def judged(fault: dict[str, Any], without: dict[str, Any]) -> Any:
    def episodes(second: dict[str, Any]) -> list[Episode]:
        return [Episode(0, 0.01, 2, 100, ran=90), Episode(1, 0.01, 2, 100, ran=90, **second)]

    mine, theirs = episodes(fault), episodes(without)
    return judge(Mutant("x"), mine, summarize(mine, 1.0), theirs, summarize(theirs, 1.0))


@pytest.mark.parametrize(
    ("fault", "without", "outcome", "noticed"),
    [
        ({"fell_s": 0.5}, {}, FALLS, 1),
        ({"fell_s": 0.5}, {"fell_s": 0.9}, FALLS, 1),
        ({"fell_s": 0.5}, {"fell_s": 0.5}, UNNOTICED, 0),
        ({"held_s": 0.01}, {"held_s": 0.01}, UNNOTICED, 0),
        ({"fell_s": 0.9, "held_s": 0.01}, {"held_s": 0.01}, FALLS, 1),
        ({"fell_s": 0.9, "stopped_s": 0.3}, {"fell_s": 0.9}, STOPS, 1),
        ({}, {"fell_s": 0.5}, UNNOTICED, 0),
    ],
)
def test_what_happens_without_the_fault_is_not_its_doing(
    fault: dict[str, Any], without: dict[str, Any], outcome: str, noticed: int
) -> None:
    found = judged(fault, without)
    assert (found.outcome, found.noticed) == (outcome, noticed)
