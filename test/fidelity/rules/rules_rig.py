"""Feeds a spec tick by tick and compares what the model gets with a loop written out by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from core_rig import FakeModel, Rig, make_rig
from fidelity_rig import terms_content

from policy_runner.core.safety.decision import Decision

TICKS = 160
DT = 0.02
PERIOD_NS = 20_000_000
BOOL = "std_msgs/msg/Bool"


def meets(found: np.ndarray, reference: np.ndarray) -> bool:
    """Return whether every number is within 1e-4 + 1e-5 |reference|."""
    assert found.shape == reference.shape
    assert np.all(np.isfinite(reference))
    return bool(np.all(np.abs(found - reference) <= 1e-4 + 1e-5 * np.abs(reference)))


def rig_of(
    folder: Path, terms: list[dict[str, Any]], inputs: Mapping[str, str], size: int, **changes: Any
) -> Rig:
    """Return a pipeline at 50 Hz whose model gets `size` numbers of these terms."""
    content = terms_content(terms, inputs, control_dt=DT, **changes)
    count = sum(
        len(group.get("joints") or group.get("axes") or group.get("elements"))
        for group in content["action"][0]["groups"]
    )
    model = FakeModel({"obs": (1, size)}, {"act": (1, count)})
    return make_rig(folder, content, model, period_ns=PERIOD_NS)


def observed_rows(rig: Rig, feed: Callable[[int, int], None], ticks: int = TICKS) -> np.ndarray:
    """Return what the model got, [ticks, size]; `feed(k, now_ns)` sends the messages of tick k."""
    for k in range(ticks):
        now_ns = (k + 1) * PERIOD_NS
        feed(k, now_ns)
        step = rig.pipeline.step(now_ns)
        assert step.decision is Decision.RUN, rig.pipeline.safety.detail
    return np.array([seen["obs"].reshape(-1).astype(np.float64) for seen in rig.model.seen])


def commands(seed: int = 3) -> np.ndarray:
    """Return velocity commands [TICKS, 3] that stand still, turn on the spot, creep and walk."""
    random = np.random.default_rng(seed)
    given = np.zeros((TICKS, 3))
    k = 7  # begins standing
    while k < TICKS:
        kind, length = random.integers(0, 5), int(random.integers(3, 14))
        row = random.uniform(-1.0, 1.0, 3)
        if kind == 0:
            row[:] = 0.0
        elif kind == 1:
            row[:2] = 0.0
        elif kind == 2:
            row = np.array([0.06, -0.05, 0.08])
        given[k : k + length] = row
        k += length
    return given
