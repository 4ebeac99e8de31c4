"""What a record costs: some microseconds a tick. The band is wide, for a busy machine."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from black_box_rig import Recorded
from core_rig import MS


def test_a_record_costs_little(tmp_path: Path) -> None:
    """2 to 5 us a tick and 20 to 40 us a state on a quiet machine; 100 times that is an error."""
    box = Recorded(tmp_path, 8 << 20)
    pipeline, recorder = box.rig.pipeline, box.recorder
    took: dict[bool, list[int]] = {True: [], False: []}
    for k in range(1, 401):
        now_ns = k * 10 * MS
        box.feed(box.rig, np.ones(2), now_ns)
        step = recorder.step if k % 2 else pipeline.step
        begin = time.perf_counter_ns()
        step(now_ns)
        took[bool(k % 2)].append(time.perf_counter_ns() - begin)
    more_ns = np.median(took[True]) - np.median(took[False])
    assert more_ns < 500_000, more_ns
    box.rig.model.seen.clear()  # what the fake model has seen is part of its state
    states = []
    for _ in range(50):
        recorder.called("something")
        begin = time.perf_counter_ns()
        recorder._save(now_ns)
        states.append(time.perf_counter_ns() - begin)
    assert np.median(states) < 4 * MS, np.median(states)
