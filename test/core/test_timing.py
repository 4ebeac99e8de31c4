"""Windows of durations, compared with numpy on the newest N durations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_runner.core.timing import Percentiles, Window


@given(
    st.integers(1, 20),
    st.lists(st.integers(-(10**12), 10**12), max_size=60),
)
def test_percentiles_of_the_newest(capacity: int, durations: list[int]) -> None:
    window = Window(capacity)
    for duration in durations:
        window.add(duration)
    newest = durations[-capacity:]
    assert window.count == len(durations)
    assert sorted(window.samples().tolist()) == sorted(newest)
    found = window.percentiles()
    if not newest:
        assert found == Percentiles(0, 0, 0, 0, 0, 0)
        return
    kept = np.abs(np.array(newest))
    assert found.count == len(newest)
    assert [found.p50, found.p95, found.p99, found.p999] == pytest.approx(
        [float(np.percentile(kept, q)) for q in (50, 95, 99, 99.9)]
    )
    assert found.max == kept.max()


def test_clear_and_copies() -> None:
    window = Window(3)
    for k in range(5):
        window.add(k)
    samples = window.samples()
    samples[:] = 99
    assert sorted(window.samples().tolist()) == [2, 3, 4]
    window.clear()
    assert (window.count, window.samples().size, window.percentiles().max) == (0, 0, 0)
    window.add(7)
    assert window.samples().tolist() == [7]
