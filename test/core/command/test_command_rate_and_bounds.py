"""Limits: first the rate, then the bounds, which have priority; every hit is counted."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from policy_runner.core.settings import CommandLimits

NUMBER = st.floats(-100, 100)
THREE = st.tuples(NUMBER, NUMBER, NUMBER)


def _apply(
    limits: CommandLimits, target: list[float], previous: list[float]
) -> tuple[list[float], list[int]]:
    out, hits = np.full(len(target), np.nan), np.zeros(len(target), dtype=np.int64)
    before = np.array(previous, dtype=np.float64)
    limits.apply(np.array(target, dtype=np.float64), before, out, hits)
    return out.tolist(), hits.tolist()


def _limits(low: float, high: float, step: float, size: int = 3) -> CommandLimits:
    return CommandLimits(np.full(size, low), np.full(size, high), np.full(size, step))


def test_bounds() -> None:
    assert _apply(_limits(-1, 2, np.inf), [-5, 0.5, 5], [0, 0, 0]) == ([-1, 0.5, 2], [1, 0, 1])


def test_bounds_need_not_lie_around_zero() -> None:
    assert _apply(_limits(1, 2, np.inf), [-5, 1.5, 0], [1, 1, 1]) == ([1, 1.5, 1], [1, 0, 1])


def test_rate_from_the_previous_command() -> None:
    limits = _limits(-np.inf, np.inf, 0.5)
    assert _apply(limits, [5, -5, 10.25], [0, 0, 10]) == ([0.5, -0.5, 10.25], [1, 1, 0])


def test_bounds_win_over_the_rate() -> None:
    # The new bounds exclude the robot's position: the command is inside them at once.
    assert _apply(_limits(-1, 1, 0.5), [5, -5, 5], [9, -9, 0]) == ([1, -1, 0.5], [1, 1, 1])


def test_one_sided_and_of_some_elements() -> None:
    inf = np.inf
    limits = CommandLimits(np.array([-inf, 0]), np.array([inf, inf]), np.array([1.0, inf]))
    assert _apply(limits, [-9, -9], [0, 0]) == ([-1, 0], [1, 1])


def test_no_limits() -> None:
    assert _apply(CommandLimits.none(2), [1e300, -1e300], [0, 0]) == ([1e300, -1e300], [0, 0])


def test_hits_add_up() -> None:
    limits, hits = _limits(-1, 1, np.inf), np.zeros(3, dtype=np.int64)
    for target in ([2.0, 0, -2], [2.0, 0, 0]):
        limits.apply(np.array(target), np.zeros(3), np.zeros(3), hits)
    assert hits.tolist() == [2, 0, 1]


@given(
    target=THREE, previous=THREE, low=st.floats(-50, 0), high=st.floats(0, 50), step=st.floats(0, 9)
)
def test_laws(
    target: tuple[float, ...], previous: tuple[float, ...], low: float, high: float, step: float
) -> None:
    out, hits = _apply(_limits(low, high, step), list(target), list(previous))
    for wanted, was, given_out, hit in zip(target, previous, out, hits, strict=True):
        assert low <= given_out <= high
        nearest = min(max(was, low), high)
        assert abs(given_out - nearest) <= step + 1e-9
        assert hit == (given_out != wanted)
        assert min(wanted, was, low) <= given_out <= max(wanted, was, high)
