"""Order of operations of a frame: relative, wrap, non-finite, clip, scale, offset; by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_runner.core.observation.arithmetic import frame_stages
from policy_runner.core.spec import ConstantTerm

INF, NAN = math.inf, math.nan


def _work(values: list[float], relative: float = 0.0, **keys: Any) -> list[float]:
    term = ConstantTerm(term="constant", value=[0.0], **keys)
    x = np.array(values, dtype=np.float64)
    before, after = frame_stages([(term, np.full(x.size, relative), x.size, "k")], "f")
    with np.errstate(invalid="ignore"):
        for stage in before:
            stage(x)
    for stage in after:
        stage(x)
    return x.tolist()


def test_nothing_asked_for_costs_nothing() -> None:
    term = ConstantTerm(term="constant", value=[0.0])
    assert frame_stages([(term, np.zeros(3), 3, "k")], "f") == ([], [])


def test_clip_then_scale_and_scale_then_clip() -> None:
    assert _work([3, -3, 0.5], clip=[-1, 2], scale=2) == [4, -2, 1]
    assert _work([3, -3, 0.5], clip=[-1, 2], scale=2, order="scale_clip") == [2, -1, 1]
    # The offset is last in both orders, so the result may be outside the clip.
    assert _work([3], clip=[-1, 2], scale=2, offset=10) == [14]
    assert _work([3], clip=[-1, 2], scale=2, offset=10, order="scale_clip") == [12]


def test_all_in_order() -> None:
    # (5 - 1) = 4 -> wrapped by 6 -> -2 -> clip -1.5 -> x 10 -> + 1
    assert _work([5], relative=1, wrap=6, clip=[-1.5, 9], scale=10, offset=1) == [-14]


def test_per_element() -> None:
    assert _work(
        [1, 2, 3], scale=[2, 0, -1], offset=[0, 5, 0.5], clip=[[None, 0.5], [0, 1], [None, None]]
    ) == [1, 5, -2.5]


def test_non_finite_only_as_stated() -> None:
    rule = {"nan": 1.0, "inf": 2.0, "-inf": 3.0}
    assert _work([NAN, INF, -INF, 7], nonfinite=rule) == [1, 2, 3, 7]
    assert str(_work([NAN, INF, -INF], nonfinite={"inf": 2.0})) == "[nan, 2.0, -inf]"
    # It is applied before clip and scale: the stated value is in the sensor's unit.
    assert _work([INF], nonfinite={"inf": 30.0}, clip=[0, 10], scale=0.1) == [1]


def test_wrap_at_four_pi() -> None:
    # A real policy wraps at 4 pi: [-2 pi, 2 pi).
    pi = math.pi
    assert _work([0, pi, 1.9 * pi, 2 * pi, 2.5 * pi, -2 * pi, -2.5 * pi, 9 * pi], wrap=4 * pi) == (
        pytest.approx([0, pi, 1.9 * pi, -2 * pi, -1.5 * pi, -2 * pi, 1.5 * pi, pi])
    )


def test_infinity_keeps_its_name_through_a_wrap() -> None:
    assert _work([INF, -INF], wrap=6, nonfinite={"inf": 1.0, "-inf": 2.0}) == [1, 2]


@given(x=st.floats(-1e4, 1e4), period=st.floats(0.1, 100))
def test_wrap_keeps_the_angle(x: float, period: float) -> None:
    (y,) = _work([x], wrap=period)
    assert -period / 2 - 1e-9 <= y <= period / 2 + 1e-9
    turns = (x - y) / period
    assert abs(turns - round(turns)) * period < 1e-8


def test_terms_side_by_side() -> None:
    one = ConstantTerm(term="constant", value=[0.0], wrap=2.0, clip=[-0.5, 0.5])
    two = ConstantTerm(term="constant", value=[0.0], scale=3.0, clip=[0, 4], order="scale_clip")
    before, after = frame_stages([(one, np.zeros(2), 2, "k"), (two, np.ones(2), 2, "k")], "f")
    x = np.array([1.75, 0.2, 2.0, 3.0])
    for stage in before + after:
        stage(x)
    assert x.tolist() == pytest.approx([-0.25, 0.2, 3, 4])
