"""Efforts from position targets: the formula, the clip, and no NaN in a published command."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from policy_runner.core.command.effort_pd import EffortFromPd
from policy_runner.core.errors import Refusal
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.safety.decision import Decision, Reason
from policy_runner.core.spec import Input, PolicySpec
from policy_runner.core.spec.elements import ActionElement

JOINTS = ["hip", "knee"]


def _spec(**keys: object) -> PolicySpec:
    return PolicySpec.model_validate(
        {
            "schema": "policy_runner/1",
            "name": "t",
            "model": {"file": "m.onnx"},
            "control_dt": 0.02,
            "joint_names": JOINTS,
            "inputs": {"js": {"type": "sensor_msgs/msg/JointState", "topic": "js"}},
            "observation": [
                {
                    "tensor": "obs",
                    "terms": [{"term": "joint_position", "input": "js"}],
                    "normalization": "none",
                }
            ],
            "action": [{"tensor": "a", "groups": [{"kind": "position", "joints": JOINTS}]}],
            "last_action": "raw",
            **keys,
        }
    )


def _slot() -> InputSlot:
    slot = InputSlot("js", Input(type="sensor_msgs/msg/JointState", topic="js"))
    slot.joint_values("position", JOINTS, {}, [0, 1])
    return slot


ELEMENTS = [ActionElement("knee", "position"), ActionElement("hip", "position")]


def test_the_formula_by_joint_name_and_the_clip() -> None:
    gains = {"hip": 10.0, "knee": 20.0}
    spec = _spec(stiffness=gains, damping=[0.5, 1.0], effort_limit={"hip": 100.0, "knee": 3.0})
    slot = _slot()
    pd = EffortFromPd(spec, "f", ELEMENTS, [slot])
    assert slot.joints is not None
    values = {"position": [0.1, 0.2], "velocity": [2.0, -1.0]}
    assert slot.joints.merge(JOINTS, values, 0) == ""
    # knee: 20 (0.3 - 0.2) - 1 (-1) = 3.0; clipped at 3. hip: 10 (0.5 - 0.1) - 0.5 * 2 = 3.0
    assert pd.compute(np.array([0.3, 0.5])) == pytest.approx([3.0, 3.0])
    # knee: 20 (1.2 - 0.2) + 1 = 21, limited to 3
    assert pd.compute(np.array([1.2, 0.5])) == pytest.approx([3.0, 3.0])
    assert pd.compute(np.array([-1.2, 0.5]))[0] == -3.0


def _pd(slot: InputSlot, **keys: object) -> EffortFromPd:
    given = {"stiffness": 10.0, "damping": 1.0, "effort_limit": 1000.0, **keys}
    return EffortFromPd(_spec(**given), "f", ELEMENTS, [slot])


@pytest.mark.filterwarnings("ignore:invalid value")  # as the control thread does
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["position", "velocity"])
def test_a_measurement_that_is_not_finite_is_a_fault_and_counted(kind: str, bad: float) -> None:
    slot = _slot()
    pd = _pd(slot)
    assert slot.joints is not None
    slot.joints.merge(JOINTS, {"position": [0.1, 0.2], "velocity": [0.0, 0.0]}, 0)
    assert pd.fault() is None
    slot.joints.merge(JOINTS, {kind: [bad, 0.0]}, 0)
    fault = pd.fault()
    assert fault is not None
    assert fault.decision is Decision.HOLD
    assert fault.reason is Reason.COMMAND_REFUSED
    assert fault.detail == f"the {kind} of hip is {bad}, so there is no effort"
    assert pd.not_finite == 1
    assert np.isnan(pd.compute(np.ones(2))).all()  # the publisher refuses NaN
    slot.joints.merge(JOINTS, {"position": [0.1, 0.2], "velocity": [0.0, 0.0]}, 0)
    assert pd.fault() is None
    assert pd.compute(np.ones(2)) == pytest.approx([8.0, 9.0])


def test_a_stop_counts_from_the_last_efforts_that_were_finite() -> None:
    slot = _slot()
    pd = _pd(slot)
    assert slot.joints is not None
    slot.joints.merge(JOINTS, {"position": [0.1, 0.2], "velocity": [0.0, 0.0]}, 0)
    pd.compute(np.ones(2))
    slot.joints.merge(JOINTS, {"velocity": [np.nan, 0.0]}, 0)
    pd.compute(np.ones(2))
    assert pd.stop(0.5) == pytest.approx([4.0, 4.5])


@pytest.mark.parametrize("key", ["stiffness", "damping", "effort_limit"])
@pytest.mark.parametrize("value", [-1.0, [1.0, -0.5], [1.0, np.inf], None])
def test_gains_and_limits_that_are_negative_or_missing_are_refused(key: str, value: Any) -> None:
    given = {"stiffness": 1.0, "damping": 1.0, "effort_limit": 1.0, key: 1.0}
    spec = _spec(**given).model_copy(update={key: value})
    with pytest.raises(Refusal) as refusal:
        EffortFromPd(spec, "f", ELEMENTS, [_slot()])
    (text,) = [str(problem) for problem in refusal.value.problems]
    assert text.startswith(f"f: {key}: expected ")
    assert "effort_from_pd" in text


def test_a_limit_of_a_joint_that_is_not_commanded_is_not_asked_for() -> None:
    limits = {"hip": 3.0, "knee": np.inf}
    spec = _spec(stiffness=1.0, damping=1.0).model_copy(update={"effort_limit": limits})
    assert EffortFromPd(spec, "f", ELEMENTS[1:], [_slot()]).limit.tolist() == [3.0]


def test_a_stop_takes_a_share_of_the_last_effort_and_nothing_of_the_measurement() -> None:
    slot = _slot()
    pd = _pd(slot)
    assert slot.joints is not None
    assert pd.stop(0.5).tolist() == [0.0, 0.0]  # no effort was computed yet
    slot.joints.merge(JOINTS, {"position": [0.1, 0.2], "velocity": [0.0, 0.0]}, 0)
    for _ in range(2):  # every stop counts from its own start
        assert pd.compute(np.ones(2)) == pytest.approx([8.0, 9.0])
        slot.joints.merge(JOINTS, {"position": [np.nan, 5.0]}, 0)
        assert pd.stop(0.75) == pytest.approx([6.0, 6.75])
        assert pd.stop(0.5) == pytest.approx([4.0, 4.5])
        assert pd.stop().tolist() == [0.0, 0.0]
        slot.joints.merge(JOINTS, {"position": [0.1, 0.2]}, 0)


def test_a_stop_goes_on_from_the_efforts_of_the_policy_before() -> None:
    slot = _slot()
    assert slot.joints is not None
    spec = _spec(stiffness=10.0, damping=1.0, effort_limit=1000.0)
    pd = EffortFromPd(spec, "f", ELEMENTS, [slot])
    slot.joints.merge(JOINTS, {"position": [0.1, 0.2], "velocity": [0.0, 0.0]}, 0)
    assert pd.compute(np.ones(2)) == pytest.approx([8.0, 9.0])
    other = EffortFromPd(spec, "f", list(reversed(ELEMENTS)), [slot])
    other.continue_from(pd)  # taken over during RUN
    assert other.stop(0.5) == pytest.approx([4.5, 4.0])
    third = EffortFromPd(spec, "f", ELEMENTS[:1], [slot])
    third.continue_from(other)  # taken over during a stop
    assert third.stop(0.25) == pytest.approx([2.0])
    assert third.compute(np.ones(1)) == pytest.approx([8.0])


def test_velocities_are_asked_for_even_if_no_term_reads_them() -> None:
    slot = _slot()
    _pd(slot)
    assert "velocity" in slot.joint_kinds


def test_what_is_missing_is_refused_at_once() -> None:
    elements = [ActionElement("hip", "velocity")]
    with pytest.raises(Refusal) as refusal:
        EffortFromPd(_spec(), "f", elements, [])
    text = str(refusal.value)
    for part in ("stiffness", "damping", "effort_limit", "only positions", "joint states"):
        assert part in text
