"""One tick: the state advances once per inference and never otherwise; published commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, FakeModel, Rig, make_rig, spec_content, term
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy_runner.core.pipeline.pipeline import Step
from policy_runner.core.safety.decision import Decision
from policy_runner.core.settings import InputRule

NONE, RUN, HOLD = Decision.STARTING, Decision.RUN, Decision.HOLD


def _counting_rig(folder: Path, **keys: Any) -> Rig:
    """A recurrent policy with a history: h counts inferences, the action is h."""
    content = spec_content(
        joint_names=["a"],
        state=[{"input": "h", "output": "h_out"}],
        observation=[
            {
                "tensor": "obs",
                "terms": [term("joint_velocity", input="joints"), term("last_action")],
                "history": {
                    "stack": "frame", "order": "oldest_first", "length": 2, "fill": "zeros",
                },
                "normalization": "none",
            }
        ],
        action=[{"tensor": "act", "groups": [{"kind": "velocity", "joints": ["a"]}]}],
    )  # fmt: skip
    for key in [k for k in keys if k in content]:
        content[key] = keys.pop(key)
    model = FakeModel(
        {"obs": (1, 4), "h": (1, 1)},
        {"act": (1, 1), "h_out": (1, 1)},
        lambda given: {"act": given["h"] + 1, "h_out": given["h"] + 1},
    )
    return make_rig(folder, content, model, **keys)


def _tick(rig: Rig, now_ns: int, velocity: float | None) -> Step:
    """One tick; velocity None means that the message contains NaN."""
    value = np.nan if velocity is None else velocity
    rig.joints("joints", now_ns, ["a"], velocity=[value])
    step = rig.pipeline.step(now_ns)
    return step


def test_state_is_carried_and_reset(tmp_path: Path) -> None:
    rig = _counting_rig(tmp_path)
    commands = [_tick(rig, k * 10 * MS, k) for k in range(1, 4)]
    assert [c.command.tolist() if c.command is not None else None for c in commands] == [[3]] * 3
    # (The command is one array, overwritten by every tick.)
    seen = [m["obs"][0].tolist() + m["h"][0].tolist() for m in rig.model.seen]
    assert seen == [[0, 0, 1, 0, 0], [1, 0, 2, 1, 1], [2, 1, 3, 2, 2]]
    rig.pipeline.reset()
    _tick(rig, 40 * MS, 4)
    seen = [m["obs"][0].tolist() + m["h"][0].tolist() for m in rig.model.seen]
    assert seen[-1] == [0, 0, 4, 0, 0]


@pytest.mark.parametrize("gap_ms", [500, 510])
def test_gap_resets_all_state_before_the_frame_is_used(tmp_path: Path, gap_ms: int) -> None:
    rig = _counting_rig(tmp_path, reset_after_ns=500 * MS)
    _tick(rig, 10 * MS, 1)
    _tick(rig, 20 * MS, 2)
    _tick(rig, (20 + gap_ms) * MS, 3)
    seen = rig.model.seen[-1]["obs"][0].tolist() + rig.model.seen[-1]["h"][0].tolist()
    assert seen == ([2, 1, 3, 2, 2] if gap_ms == 500 else [0, 0, 3, 0, 0])


def test_safe_stop_ends_the_state(tmp_path: Path) -> None:
    rig = _counting_rig(tmp_path, recover="auto")
    _tick(rig, 10 * MS, 1)
    compute, rig.model.compute = rig.model.compute, lambda _: {"act": [[np.nan]]}
    assert _tick(rig, 20 * MS, 2).decision is Decision.SAFE_STOP
    rig.model.compute = compute
    assert _tick(rig, 30 * MS, 3).decision is RUN
    assert rig.model.seen[-1]["obs"][0].tolist() == [0, 0, 3, 0]
    assert rig.model.seen[-1]["h"].tolist() == [[0]]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    well=st.lists(st.booleans(), min_size=1, max_size=40),
    decimation=st.integers(1, 4),
    recover_ticks=st.integers(0, 3),
    kind=st.sampled_from(["raw", "clipped", "target", "limited"]),
)
def test_state_advances_once_per_inference(
    tmp_path_factory: pytest.TempPathFactory,
    well: list[bool],
    decimation: int,
    recover_ticks: int,
    kind: str,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "once"
    folder.mkdir(exist_ok=True)
    rig = _counting_rig(
        folder,
        last_action=kind,
        decimation=decimation,
        hold_recover_ns=recover_ticks * 10 * MS,
        reset_after_ns=10**12,
    )
    since = None  # ticks since the last inference; None: not running
    frames: list[list[float]] = [[0, 0]]
    for k, good in enumerate(well, 1):
        before = (rig.model.runs, rig.pipeline.inferences)
        step = _tick(rig, k * 10 * MS, k if good else None)
        inferences = rig.model.runs - before[0]
        assert rig.pipeline.inferences - before[1] == inferences == step.inferred
        if step.decision is not RUN:
            assert not step.inferred
            since = None
            continue
        assert step.inferred == (since is None or since == decimation - 1)
        since = 0 if step.inferred else (since or 0) + 1
        if step.inferred:
            frames.append([k, len(frames) - 1])
            seen = rig.model.seen[-1]
            assert seen["obs"][0].tolist() == frames[-2] + frames[-1]
            assert seen["h"].tolist() == [[len(frames) - 2]]
        assert step.command is not None
        assert step.command.tolist() == [len(frames) - 1]


def test_run_never_begins_with_a_target_of_before(tmp_path: Path) -> None:
    # The inputs arrive at the second tick of four: the policy infers at once.
    rig = _counting_rig(tmp_path, decimation=4)
    assert rig.pipeline.step(0)[:3] == (NONE, None, False)
    inferred = [_tick(rig, k * MS, 1).inferred for k in range(1, 10)]
    assert inferred == [True, False, False, False, True, False, False, False, True]
    rig.pipeline.reset()
    assert _tick(rig, 10 * MS, 1).inferred
    # A fault of the observation shows at an inference, a fault of an input in every tick.
    assert rig.pipeline.step(500 * MS).decision is HOLD
    assert _tick(rig, 500 * MS, 1).inferred


def test_marks_are_in_order(tmp_path: Path) -> None:
    rig = _counting_rig(tmp_path, decimation=2)
    steps = [_tick(rig, k * MS, 1 if k != 3 else None) for k in range(1, 6)]
    marks = [x for s in steps for x in (s.started_ns, s.observed_ns, s.inferred_ns, s.decided_ns)]
    assert marks == sorted(marks)
    for step in steps:
        assert (step.inferred_ns > step.observed_ns) == step.inferred
        assert step.started_ns < step.observed_ns < step.decided_ns


def test_settings_change_between_ticks(tmp_path: Path) -> None:
    from dataclasses import replace

    rig = _counting_rig(tmp_path)
    _tick(rig, 10 * MS, 1)
    assert rig.pipeline.step(60 * MS).decision is RUN
    rule = {"joints": InputRule(20 * MS)}
    rig.pipeline.settings = replace(rig.pipeline.settings, inputs=rule)
    assert rig.pipeline.step(61 * MS).decision is HOLD
    assert rig.pipeline.safety.detail == "joints: 0.051 s old"


def test_ages_are_kept(tmp_path: Path) -> None:
    rig = _counting_rig(tmp_path)
    _tick(rig, 10 * MS, 1)
    rig.pipeline.step(15 * MS)
    rig.pipeline.step(400 * MS)
    assert rig.pipeline.slots["joints"].ages.samples().tolist() == [0, 5 * MS, 390 * MS]


def test_activate_forgets_everything(tmp_path: Path) -> None:
    rig = _counting_rig(tmp_path)
    for k in range(1, 4):
        _tick(rig, k * MS, 5)
    rig.pipeline.activate()
    assert rig.pipeline.step(4 * MS)[:3] == (NONE, None, False)
    assert rig.pipeline.safety.detail == "joints: no message yet"
    assert rig.pipeline.slots["joints"].ages.count == 0
    assert _tick(rig, 5 * MS, 7).decision is RUN
    assert rig.model.seen[-1]["obs"][0].tolist() == [0, 0, 7, 0]
    assert rig.model.seen[-1]["h"].tolist() == [[0]]
