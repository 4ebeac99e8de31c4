"""Numbers by name and pattern, and their use in terms."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from core_rig import MS, refused, term
from fidelity_rig import JOINTS, observed, terms_rig

from policy_runner.core.errors import Refusal
from policy_runner.core.spec.named_numbers import bounds_by_name, by_name

INF = math.inf
NAMES = ["FL_hip", "FL_foot", "FR_hip", "FR_foot"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2.0, [2, 2, 2, 2]),
        ([1, 2, 3, 4], [1, 2, 3, 4]),
        ({".*_hip": 1, ".*_foot": 0}, [1, 0, 1, 0]),
        ({"FL_foot": 7, "F._hip": 1, "FR_.*foot": 5}, [1, 7, 1, 5]),
        ({"FL_foot": 7, "F._hip": 1, ".*_foot": 5}, [1, 7, 1, 5]),  # the exact name wins
    ],
)
def test_by_name(value: Any, expected: list[float]) -> None:
    assert by_name(value, NAMES, "f", "k").tolist() == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1.0], "f: k: expected one number or 4 numbers, got 1"),
        ({".*_hip": 1}, "expected a number for every one of FL_hip"),
        ({".*_hip": 1, ".*": 2}, "expected one pattern for 'FL_hip', got '.*_hip' and '.*'"),
        ({".*": 1, "FL_hp": 2}, "got 'FL_hp'; did you mean 'FL_hip'?"),
        ({".*": 1, "(": 2}, "expected a name or a regular expression, got '('"),
        # A pattern matches whole names, so `hip` matches none.
        ({".*": 1, "hip": 2}, "got 'hip'"),
    ],
)
def test_by_name_refuses(value: Any, expected: str) -> None:
    with pytest.raises(Refusal) as caught:
        by_name(value, NAMES, "f", "k")
    assert expected in str(caught.value)


def test_a_pattern_ends_where_the_name_ends() -> None:
    assert by_name({"a.": 1, "a.2": 2}, ["a1", "a12"], "f", "k").tolist() == [1, 2]


def test_ranges_by_name() -> None:
    low, high = bounds_by_name({".*_hip": [-1, None], ".*_foot": [None, 2]}, NAMES, "f", "k")
    assert low.tolist() == [-1, -INF, -1, -INF]
    assert high.tolist() == [INF, 2, INF, 2]


def test_a_scale_of_zero_by_joint(tmp_path: Path) -> None:
    one = term("joint_position", input="joints", scale={"a": 0.0, "b": 2.0})
    rig = terms_rig(tmp_path, [one], {"joints": JOINTS}, 2)
    rig.joints("joints", MS, ["a", "b"], position=[1e12, 3.0])
    assert observed(rig, MS) == [0, 6]


def test_wrap_by_joint(tmp_path: Path) -> None:
    one = term("joint_position", input="joints", wrap={"a": 4 * math.pi, "b": 0})
    rig = terms_rig(tmp_path, [one], {"joints": JOINTS}, 2)
    rig.joints("joints", MS, ["a", "b"], position=[2 * math.pi + 0.5, 1003.0])
    assert observed(rig, MS) == pytest.approx([0.5 - 2 * math.pi, 1003])


@pytest.mark.parametrize("wrap", [-1.0, [1.0, -1.0]])
def test_a_period_below_zero(tmp_path: Path, wrap: Any) -> None:
    one = term("joint_position", input="joints", wrap=wrap)
    (sentence,) = refused(terms_rig, tmp_path, [one], {"joints": JOINTS}, 2)
    assert "terms[0].wrap: expected periods above 0, or 0 for no wrap, got -1" in sentence


def test_no_ranges_at_all() -> None:
    assert refused(bounds_by_name, [], ["a", "b"], "f", "clip") == [
        "f: clip: expected [low, high] or 2 of them, got an empty list"
    ]
