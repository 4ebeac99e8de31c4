"""Terms that count inferences advance once per inference, never on HOLD, and reset to the start."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, FakeModel, make_rig, spec_content, term
from fidelity_rig import IMU, TWIST, observed, terms_rig
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy_runner.core.safety.decision import Decision


def _phase(x: float) -> list[float]:
    return [math.sin(2 * math.pi * x), math.cos(2 * math.pi * x)]


def test_phase_clock_by_hand(tmp_path: Path) -> None:
    # control_dt 0.01 s, period 0.08 s: an eighth of a cycle per inference.
    rig = terms_rig(tmp_path, [term("phase_clock", period=0.08)], {}, 2)
    for k in range(20):
        assert observed(rig, k) == pytest.approx(_phase(k / 8), abs=1e-12)
    rig.pipeline.reset()
    assert observed(rig, 21) == pytest.approx(_phase(0), abs=1e-12)


def test_several_clocks_in_both_layouts(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"period": 0.08, "offsets": [0.0, 0.5], "start": 0.25}
    by_part = term("phase_clock", **keys)
    by_clock = term("phase_clock", parts=["cos", "sin"], layout="by_clock", **keys)
    plain = term("phase_clock", parts=["phase"], **keys)
    rig = terms_rig(tmp_path, [by_part, by_clock, plain], {}, 10)
    observed(rig)
    (s0, c0), (s1, c1) = _phase(0.375), _phase(0.875)
    assert observed(rig, 2) == pytest.approx([s0, s1, c0, c1, c0, s0, c1, s1, 0.375, 0.875])


def test_the_phase_does_not_drift(tmp_path: Path) -> None:
    rig = terms_rig(tmp_path, [term("phase_clock", period=0.7, parts=["phase"])], {}, 1)
    clock = rig.pipeline.policy._clocks[0]
    for _ in range(70 * 10_000):
        clock.advance()
    assert min(observed(rig)[0], 1 - observed(rig)[0]) < 0.02 + 1e-9


@pytest.mark.parametrize("at", [None, 0.5, [0.5, 0.25]])
def test_held_below_a_command(tmp_path: Path, at: Any) -> None:
    one = term(
        "phase_clock",
        period=0.08,
        offsets=[0.0, 0.5],
        parts=["phase"],
        hold={"input": "cmd", "axes": ["linear.x", "angular.z"], "below": 0.5, "at": at},
    )
    rig = terms_rig(tmp_path, [one], {"cmd": TWIST}, 2)

    def with_command(k: int, x: float, wz: float) -> list[float]:
        rig.feed("cmd", k, linear__x=[x], angular__z=[wz])
        return observed(rig, k)

    assert with_command(1, 0.4, 0.4) == pytest.approx([0, 0.5])  # hypot 0.57: it moves
    assert with_command(2, 0.4, 0.4) == pytest.approx([0.125, 0.625])
    still = {None: [0.25, 0.75], 0.5: [0.5, 0.5]}.get(at if not isinstance(at, list) else 9, at)
    assert with_command(3, 0.3, 0.3) == pytest.approx(still)
    assert with_command(4, 0.0, 0.0) == pytest.approx(still)
    # The clock continues from its own phase, not from the shown phase.
    assert with_command(5, 0.0, -1.0) == pytest.approx([0.25, 0.75])
    assert with_command(6, 0.0, -1.0) == pytest.approx([0.375, 0.875])


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6]),
        ({"start": 5, "delay": 2}, [5, 5, 5, 6, 7, 8, 9]),
        ({"last": 2}, [0, 1, 2, 2, 2, 2, 2]),
        ({"last": 2, "end": "loop"}, [0, 1, 2, 0, 1, 2, 0]),
        ({"start": 1, "last": 2, "end": "loop", "delay": 1}, [1, 1, 2, 1, 2, 1, 2]),
    ],
)
def test_step_counter(tmp_path: Path, keys: dict[str, Any], expected: list[float]) -> None:
    rig = terms_rig(tmp_path, [term("step_counter", **keys)], {}, 1)
    assert [observed(rig, k)[0] for k in range(7)] == expected
    rig.pipeline.reset()
    assert observed(rig, 8) == expected[:1]


def test_first_step(tmp_path: Path) -> None:
    rig = terms_rig(tmp_path, [term("first_step")], {}, 1)
    assert [observed(rig, k)[0] for k in range(3)] == [1, 0, 0]
    rig.pipeline.reset()
    assert observed(rig, 4) == [1]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(well=st.lists(st.booleans(), min_size=1, max_size=40), decimation=st.integers(1, 3))
def test_state_advances_once_per_inference_under_random_holds(
    tmp_path: Path, well: list[bool], decimation: int
) -> None:
    """Counter, history, recurrent state and last action count the same inferences."""
    content = spec_content(inputs={"imu": {"type": IMU, "topic": "imu"}})
    content["observation"][0]["terms"] = [
        term("field", input="imu", fields=["angular_velocity.x"], name="rate"),
        term("step_counter"),
        term("last_action"),
    ]
    content["observation"][0]["history"] = {
        "stack": "term", "order": "newest_first", "lags": {"step_counter": [0, 1]}, "fill": "zeros",
    }  # fmt: skip
    content["state"] = [{"input": "h", "output": "h_out"}]

    def compute(inputs: dict[str, np.ndarray]) -> dict[str, Any]:
        count = inputs["h"][0, 0] + 1
        return {"act": [[count, -count]], "h_out": [[count]]}

    model = FakeModel({"obs": (1, 5), "h": (1, 1)}, {"act": (1, 2), "h_out": (1, 1)}, compute)
    rig = make_rig(tmp_path, content, model, decimation=decimation, reset_after_ns=10**15)
    inferences = ticks_since = 0
    for k, good in enumerate(well):
        rig.feed("imu", (k + 1) * MS, angular_velocity__x=[0.0 if good else math.nan])
        due = ticks_since % decimation == 0
        step = rig.pipeline.step((k + 1) * MS)
        if step.inferred:
            seen = model.seen[-1]["obs"][0].tolist()
            n = float(inferences)
            assert seen == [0, n, max(0.0, n - 1), n, -n]
            assert model.seen[-1]["h"].tolist() == [[n]]
            inferences += 1
        # A frame is read only when an inference is due, so only then can it be a fault.
        assert step.inferred == (good and due)
        ticks_since = ticks_since + 1 if step.decision is Decision.RUN else 0
    assert rig.pipeline.inferences == model.runs == inferences
