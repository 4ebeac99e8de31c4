"""Histories, compared with a plain list of frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_runner.core.observation.history import FrameHistory
from policy_runner.core.spec import History

Frames = list[list[float]]


def _naive(frames: Frames, sizes: list[int], spec: History) -> list[float]:
    """The flattened history, from all frames since the reset, oldest first."""
    filler = frames[0] if spec.fill == "repeat" else [0.0] * sum(sizes)
    assert isinstance(spec.length, int)
    past = ([filler] * spec.length + frames)[-spec.length :]
    if spec.order == "newest_first":
        past = past[::-1]
    if spec.stack == "frame":
        return [x for frame in past for x in frame]
    out, start = [], 0
    for size in sizes:
        out += [x for frame in past for x in frame[start : start + size]]
        start += size
    return out


@given(
    stack=st.sampled_from(["term", "frame"]),
    order=st.sampled_from(["oldest_first", "newest_first"]),
    fill=st.sampled_from(["repeat", "zeros"]),
    length=st.integers(1, 5),
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    data=st.data(),
)
def test_like_a_naive_list(
    stack: str, order: str, fill: str, length: int, sizes: list[int], data: st.DataObject
) -> None:
    spec = History.model_validate({"stack": stack, "order": order, "fill": fill, "length": length})
    history = FrameHistory(spec, sizes)
    frames: Frames = []
    steps = data.draw(st.lists(st.booleans(), min_size=1, max_size=12))
    for k, reset in enumerate(steps):
        if reset:
            history.reset()
            frames = []
        frame = [float(100 * k + j + 1) for j in range(sum(sizes))]
        frames.append(frame)
        assert history.push(np.array(frame)).tolist() == _naive(frames, sizes, spec)


@pytest.mark.parametrize(
    ("stack", "order", "expected"),
    [
        ("term", "oldest_first", [1, 4, 2, 3, 5, 6]),
        ("term", "newest_first", [4, 1, 5, 6, 2, 3]),
        ("frame", "oldest_first", [1, 2, 3, 4, 5, 6]),
        ("frame", "newest_first", [4, 5, 6, 1, 2, 3]),
    ],
)
def test_two_frames_of_terms_1_and_2(stack: str, order: str, expected: list[int]) -> None:
    spec = History.model_validate({"stack": stack, "order": order, "fill": "zeros", "length": 2})
    history = FrameHistory(spec, [1, 2])
    history.push(np.array([1.0, 2, 3]))
    assert history.push(np.array([4.0, 5, 6])).tolist() == expected


def test_frame_that_changes_later_changes_nothing_kept() -> None:
    spec = History(stack="frame", order="oldest_first", fill="repeat", length=2)
    history, frame = FrameHistory(spec, [1]), np.array([1.0])
    history.push(frame)
    frame[0] = 2.0
    assert history.push(frame).tolist() == [1.0, 2.0]
