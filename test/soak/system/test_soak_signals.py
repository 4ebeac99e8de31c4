"""Pairs of signals, 0 to 0.2 ms apart: every run sends its last command and ends."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from children import Nursery
from ending_rig import STOPPED, Robot, end_by_pairs, pairs
from fuzzing import SEED

pytestmark = pytest.mark.skipif(
    find_spec("rclpy") is None or find_spec("onnx") is None, reason="needs rclpy and onnx"
)
PAIRS = int(os.environ.get("POLICY_RUNNER_SOAK_PAIRS", "0"))
AT_ONCE = 50  # runs of one listener


@pytest.mark.skipif(not PAIRS, reason="make soak: test_runner_signals.py has 16 of these")
def test_pairs_of_signals(tmp_path: Path) -> None:
    given = pairs(PAIRS, SEED)
    slowest, bad = 0.0, []
    for begin in range(0, PAIRS, AT_ONCE):
        some = given[begin : begin + AT_ONCE]
        folder = tmp_path / f"pairs{begin}"
        folder.mkdir()
        nursery = Nursery(folder)
        try:
            got = end_by_pairs(Robot(nursery, folder, len(some)), 0, some)
        finally:
            nursery.close()
        slowest = max(slowest, *(end.seconds for _, end in got))
        bad += [
            one
            for one in got
            if (one[1].code, one[1].last) != (0, STOPPED) or one[1].seconds >= 2.0
        ]
    print(f"{PAIRS} pairs of signals, slowest end {slowest:.2f} s, bad: {len(bad)}")  # noqa: T201
    assert not bad, bad
