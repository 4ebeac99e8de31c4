"""Histories filled with the newest value, stacked by element, with lengths per element."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import refused, term
from fidelity_rig import JOINTS, TWIST
from rules_rig import TICKS, commands, meets, observed_rows, rig_of

COMMANDS = commands(5)
RANDOM = np.random.default_rng(8)
POSITIONS = RANDOM.normal(size=(TICKS, 2))
TERMS = [term("joint_position", input="joints", scale=2.0), term("velocity_command", input="cmd")]
# The frame, element by element: joints a and b, then the command.
FRAMES = np.concatenate([2.0 * POSITIONS, COMMANDS], axis=1)
RESETS = (0, 90)  # the policy is reset before these ticks


def _run(folder: Path, size: int, history: dict[str, Any]) -> np.ndarray:
    content = {"tensor": "obs", "terms": TERMS, "normalization": "none", "history": history}
    rig = rig_of(
        folder, TERMS, {"joints": JOINTS, "cmd": TWIST}, size, observation=[content]
    )  # fmt: skip

    def feed(k: int, now_ns: int) -> None:
        if k in RESETS:
            rig.pipeline.reset()
        rig.joints("joints", now_ns, ["b", "a"], position=POSITIONS[k][::-1])
        x, y, w = COMMANDS[k]
        rig.feed("cmd", now_ns, linear__x=[x], linear__y=[y], angular__z=[w])

    return observed_rows(rig, feed)


def _past(k: int, element: int, lag: int, fill: str) -> float:
    first = max(reset for reset in RESETS if reset <= k)
    if k - lag >= first:
        return float(FRAMES[k - lag, element])
    return {"zeros": 0.0, "repeat": FRAMES[first, element], "newest": FRAMES[k, element]}[fill]


def _newest_first_by_term(fill: str) -> list[list[float]]:
    return [
        [_past(k, e, lag, fill) for group in ((0, 1), (2, 3, 4)) for lag in range(4) for e in group]
        for k in range(TICKS)
    ]


def _by_element() -> list[list[float]]:
    return [[_past(k, e, lag, "repeat") for e in range(5) for lag in (2, 1, 0)]
            for k in range(TICKS)]  # fmt: skip


def _current_then_past_frames() -> list[list[float]]:
    # legged_rl_deploy, policies/g1/mimic/TWIST2 (layout.blocks): the current frame, past frames
    # without it, oldest first, and one term of the current frame once more.
    return [
        [*(_past(k, e, 0, "zeros") for e in range(5)),
         *(_past(k, e, lag, "zeros") for lag in (3, 2, 1) for e in range(5)),
         *(_past(k, e, 0, "zeros") for e in (2, 3, 4))]
        for k in range(TICKS)
    ]  # fmt: skip


def _past_terms_between_current_ones() -> list[list[float]]:
    # RoboJuDo, asap_policy.py (AsapLocoPolicy.get_observation): the past of every term, newest
    # first and without the current frame, stands between two current terms.
    return [
        [*(_past(k, e, 0, "zeros") for e in (0, 1)),
         *(_past(k, e, lag, "zeros") for term in ((0, 1), (2, 3, 4)) for lag in (1, 2, 3, 4)
           for e in term),
         *(_past(k, e, 0, "zeros") for e in (2, 3, 4))]
        for k in range(TICKS)
    ]  # fmt: skip


PAST: dict[str, Any] = {"stack": "frame", "order": "oldest_first", "lags": [3, 2, 1]}
MIDDLE: dict[str, Any] = {"stack": "term", "order": "newest_first", "lags": [1, 2, 3, 4]}
JOINT, COMMAND = "joint_position", "velocity_command"
LENGTHS = (5, 2, 1, 4, 3)


def _by_element_with_lengths() -> list[list[float]]:
    rows = []
    for k in range(TICKS):
        row = []
        for e, length in enumerate(LENGTHS):
            row += [_past(k, e, lag, "newest") for lag in reversed(range(length))]
        rows.append(row)
    return rows


def _by_frame_with_lengths() -> list[list[float]]:
    rows = []
    for k in range(TICKS):
        row = [_past(k, e, lag, "zeros") for lag in (4, 3, 2, 1, 0)
               for e in (0, 1) if lag < LENGTHS[e]]  # fmt: skip
        row += [float(FRAMES[k, e]) for e in (2, 3, 4)]
        rows.append(row)
    return rows


BY_ELEMENT = {"joint_position": [5, 2], "velocity_command": [1, 4, 3]}
NAMED = {"joint_position": {"a": 5, "b": 2},
         "velocity_command": {"linear.x": 1, "linear.y": 4, "angular.z": 3}}  # fmt: skip
CASES: dict[str, tuple[dict[str, Any], list[list[float]], dict[str, Any]]] = {
    "filled with the newest": (
        {"stack": "term", "order": "newest_first", "length": 4, "fill": "newest"},
        _newest_first_by_term("newest"),
        {"stack": "term", "order": "newest_first", "length": 4, "fill": "repeat"},
    ),
    "a current frame, then past frames": (
        {"fill": "zeros", "blocks": [{}, PAST, {"terms": [COMMAND]}]},
        _current_then_past_frames(),
        {"fill": "zeros", "blocks": [{}, {**PAST, "order": "newest_first"}, {"terms": [COMMAND]}]},
    ),
    "the past between current terms": (
        {"fill": "zeros", "blocks": [{"terms": [JOINT]}, MIDDLE, {"terms": [COMMAND]}]},
        _past_terms_between_current_ones(),
        {"fill": "repeat", "blocks": [{"terms": [JOINT]}, MIDDLE, {"terms": [COMMAND]}]},
    ),
    "by element": (
        {"stack": "element", "order": "oldest_first", "length": 3, "fill": "repeat"},
        _by_element(),
        {"stack": "term", "order": "oldest_first", "length": 3, "fill": "repeat"},
    ),
    "lengths per element": (
        {"stack": "element", "order": "oldest_first", "length": NAMED, "fill": "newest"},
        _by_element_with_lengths(),
        {"stack": "element", "order": "newest_first", "length": NAMED, "fill": "newest"},
    ),
    "lengths per element as a list": (
        {"stack": "element", "order": "oldest_first", "length": BY_ELEMENT, "fill": "newest"},
        _by_element_with_lengths(),
        {"stack": "element", "order": "oldest_first", "fill": "newest",
         "length": {"joint_position": [2, 5], "velocity_command": [1, 4, 3]}},
    ),
    "lengths per element, by frame": (
        {"stack": "term", "order": "oldest_first", "fill": "zeros",
         "lags": {"joint_position": {"a": [0, 1, 2, 3, 4], "b": [0, 1]}}},
        _by_frame_with_lengths(),
        {"stack": "element", "order": "oldest_first", "fill": "zeros",
         "lags": {"joint_position": {"a": [0, 1, 2, 3, 4], "b": [0, 1]}}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_history_by_hand(tmp_path: Path, case: str) -> None:
    keys, reference, mutation = CASES[case]
    expected = np.array(reference)
    assert meets(_run(tmp_path, expected.shape[1], keys), expected)
    assert not meets(_run(tmp_path, expected.shape[1], mutation), expected)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        ({"joint_position": [1, 2, 3]}, "expected one length, or 2, one per element, got 3"),
        ({"joint_position": {"a": 1}}, "a number for every one of a, b, got none: b"),
        ({"joint_position": {"a": 1, "c": 2}}, "got 'c'"),
    ],
)
def test_lengths_that_do_not_fit(tmp_path: Path, length: Any, expected: str) -> None:
    keys = {"stack": "element", "order": "oldest_first", "fill": "zeros", "length": length}
    (sentence,) = refused(_run, tmp_path, 5, keys)
    assert expected in sentence
    assert "observation[0].history.length.joint_position" in sentence


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"order": "oldest_first", "length": 2}, "stack: expected a value, since there are no"),
        ({"stack": "term", "blocks": [{}]}, "stack: expected no such key next to `blocks`"),
        ({"length": 2, "blocks": [{}]}, "length: expected no such key next to `blocks`"),
        ({"blocks": [{"terms": ["x"]}]}, "blocks[0].terms[0]: expected each term of the tensor"),
        ({"blocks": [{}, {"terms": [JOINT, JOINT]}]}, "blocks[1].terms[1]: expected each term"),
        ({"blocks": [{"length": 2, "lags": [1]}]}, "blocks[0]: expected one of `length` and"),
        ({"blocks": [{"length": {JOINT: 2}}]}, "blocks[0].length: expected one for all terms"),
    ],
)
def test_blocks_that_do_not_fit(tmp_path: Path, keys: Any, expected: str) -> None:
    (sentence,) = refused(_run, tmp_path, 5, {"fill": "zeros", **keys})
    assert f"observation[0].history.{expected}" in sentence
