"""Events during an inference are judged before its command; refused commands are not sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, FakeModel, Rig, make_rig, refused, spec_content

from policy_runner.core.safety.decision import Decision, Fault, Reason
from policy_runner.core.settings import StopRule

PERIOD = 10 * MS
START = 1000 * MS


class Slow:
    """A rig whose inference takes `took_ns` on every clock; the operator may press meanwhile."""

    def __init__(self, folder: Path, kind: str = "velocity", **settings: Any) -> None:
        self.took_ns = 0
        self.during: Any = None
        content = spec_content(
            action=[{"tensor": "act", "groups": [{"kind": kind, "joints": ["a", "b"]}]}]
        )
        self.rig: Rig = make_rig(folder, content, compute=self._compute, **settings)
        self.now_ns = START

    def _compute(self, _inputs: Any) -> dict[str, Any]:
        self.rig.pipeline._clock_ns.now_ns += self.took_ns
        self.now_ns += self.took_ns
        if self.during is not None:
            self.during()
        return {"act": 4.0}

    def step(self, feed: bool = True) -> Any:
        self.now_ns += PERIOD
        if feed:
            self.rig.joints("joints", self.now_ns, ["a", "b"], velocity=[1.0, 2.0])
        return self.rig.pipeline.step(self.now_ns, None, lambda _late: self.now_ns)

    @property
    def safety(self) -> Any:
        return self.rig.pipeline.safety


def test_a_press_during_an_inference_stops_before_its_command(tmp_path: Path) -> None:
    slow = Slow(tmp_path)
    assert slow.step().command.tolist() == [4.0, 4.0]

    def press_and_let_go() -> None:
        slow.rig.pipeline.operator.hear_estop(True)
        slow.rig.pipeline.operator.hear_estop(False)

    slow.during = press_and_let_go
    step = slow.step()
    assert step.inferred
    assert (step.decision, slow.safety.reason) == (Decision.SAFE_STOP, Reason.OPERATOR_STOP)
    assert step.command.tolist() == [0.0, 0.0]


def test_ages_are_judged_again_where_the_inference_overran_its_period(tmp_path: Path) -> None:
    slow = Slow(tmp_path)
    slow.step()
    slow.took_ns = 7000 * MS
    step = slow.step()
    assert step.inferred
    assert (step.decision, slow.safety.reason) == (Decision.HOLD, Reason.INPUT_STALE)
    assert step.command.tolist() == [0.0, 0.0]


def test_ages_within_the_period_are_not_judged_twice(tmp_path: Path) -> None:
    slow = Slow(tmp_path, decimation=20)
    slow.took_ns = 150 * MS  # longer than max_age, and within the policy's own period
    assert slow.step().decision is Decision.RUN


@pytest.mark.parametrize("ramp_ns", [0, 300 * MS])
def test_what_must_not_leave_is_taken_back_and_the_stop_is_at_once(
    tmp_path: Path, ramp_ns: int
) -> None:
    slow = Slow(tmp_path, stops=StopRule(ramp_ns=ramp_ns))
    slow.step()
    pipeline = slow.rig.pipeline
    fault = Fault(Decision.SAFE_STOP, Reason.COMMAND_REFUSED, "a: inf")
    assert pipeline.refuse(slow.now_ns, fault).tolist() == [0.0, 0.0]
    assert (slow.safety.decision, slow.safety.detail) == (Decision.SAFE_STOP, "a: inf")
    assert slow.step().command.tolist() == [0.0, 0.0]  # no ramp from a command that was not sent


def test_a_held_position_is_the_one_that_left_last(tmp_path: Path) -> None:
    slow = Slow(tmp_path, kind="position")
    slow.step()
    pipeline = slow.rig.pipeline
    left = pipeline._command.values.copy()
    slow.rig.model.compute = lambda _inputs: {"act": 9.0}
    slow.step()
    assert pipeline.refuse_old(slow.now_ns, 300 * MS).tolist() == left.tolist()
    assert (slow.safety.decision, slow.safety.reason) == (Decision.HOLD, Reason.COMMAND_TOO_OLD)
    assert slow.safety.detail == "its tick began 0.300 s ago"


def test_a_further_watch_holds_once_the_inputs_are_there(tmp_path: Path) -> None:
    slow = Slow(tmp_path)
    fault = Fault(Decision.HOLD, Reason.COMMAND_REFUSED, "no effort")
    slow.rig.pipeline.watch(lambda: fault)
    slow.step(feed=False)
    assert slow.safety.reason is Reason.INPUT_MISSING
    slow.step()
    assert slow.safety.reason is Reason.COMMAND_REFUSED


def test_a_loop_that_failed_does_not_run_again(tmp_path: Path) -> None:
    slow = Slow(tmp_path, recover="auto")
    slow.step()
    slow.safety.fail("it hangs")
    step = slow.step()
    assert (step.decision, slow.safety.reason) == (Decision.SAFE_STOP, Reason.LOOP_FAILED)
    assert step.command.tolist() == [0.0, 0.0]
    slow.rig.pipeline.activate()
    assert slow.step().decision is Decision.RUN


@pytest.mark.parametrize(
    ("dtype", "value", "fits"),
    [
        (np.float32, 1e39, 3e38),
        (np.float16, 70000.0, 65504.0),
        (np.uint8, 300.0, 255.0),
        (np.int8, -129.0, -128.0),
        (np.int64, 1e19, 1e18),
    ],
)
def test_a_number_that_the_tensor_cannot_hold_is_a_fault(
    tmp_path: Path, dtype: Any, value: float, fits: float
) -> None:
    content = spec_content()
    content["observation"][0]["history"] = {
        "stack": "frame", "order": "oldest_first", "length": 2, "fill": "repeat"
    }  # fmt: skip
    model = FakeModel({"obs": np.zeros((1, 4), dtype)}, {"act": (1, 2)})
    rig = make_rig(tmp_path, content, model)
    now = START

    def step(number: float) -> Any:
        nonlocal now
        now += PERIOD
        rig.joints("joints", now, ["a", "b"], velocity=[1.0, number])
        with np.errstate(all="ignore"):
            return rig.pipeline.step(now)

    assert step(2.0).decision is Decision.RUN
    assert step(value).decision is Decision.HOLD
    assert model.runs == 1
    safety = rig.pipeline.safety
    assert safety.reason is Reason.OBSERVATION_NOT_FINITE
    assert (
        safety.detail == f"obs: joint_velocity/[3] is {value:g}, which no {np.dtype(dtype)} holds"
    )
    assert step(fits).decision is Decision.RUN  # the frame that did not fit is dropped
    assert np.isfinite(model.inputs["obs"].astype(np.float64)).all()


@pytest.mark.parametrize(("value", "fits"), [(1e39, False), (3e38, True)])
def test_a_constant_that_its_tensor_cannot_hold_is_refused(
    tmp_path: Path, value: float, fits: bool
) -> None:
    content = spec_content()
    content["observation"].append({"tensor": "fixed", "constant": value})
    model = FakeModel({"obs": (1, 2), "fixed": (1, 3)}, {"act": (1, 2)})
    if fits:
        make_rig(tmp_path, content, model)
        return
    (text,) = refused(make_rig, tmp_path, content, model)
    assert "observation[1].constant: expected numbers from -3.40282e+38 to 3.40282e+38" in text
