"""Every publisher's stamp, every gravity term and every observation is judged by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, Rig, make_rig, refused, spec_content, term

from policy_runner.core.inputs.joints import NEVER, JointSamples
from policy_runner.core.inputs.slot import InputSlot
from policy_runner.core.safety.decision import Decision, Reason
from policy_runner.core.settings import InputRule

IMU = "sensor_msgs/msg/Imu"
NOW_NS = 1_700_000_000 * 10**9


def _strict(folder: Path) -> tuple[Rig, InputSlot]:
    content = spec_content(inputs={"cmd": {"type": "geometry_msgs/msg/TwistStamped", "topic": "c"}})
    content["observation"][0]["terms"] = [term("velocity_command", input="cmd", axes=["linear.x"])]
    rule = InputRule(100 * MS, "hold", strict_stamp=True)
    rig = make_rig(folder, content, size=1, inputs={"cmd": rule})
    slot = rig.pipeline.slots["cmd"]
    slot.stamped = True
    return rig, slot


@pytest.mark.parametrize("stamps", [(0, NOW_NS), (NOW_NS, 0), (NOW_NS, 0, NOW_NS)])
def test_a_right_stamp_excuses_no_wrong_one_of_the_same_tick(
    tmp_path: Path, stamps: Sequence[int]
) -> None:
    rig, slot = _strict(tmp_path)
    for k in range(1, 4):
        next(iter(slot.arrays.values()))[:] = 0.5
        for stamp_ns in stamps:
            slot.received(k * MS, stamp_ns, NOW_NS)
        assert rig.pipeline.step(k * MS).decision is not Decision.RUN
        assert rig.pipeline.safety.detail == "cmd: the header stamp is 0"
    assert slot.stamp_faults == 3
    # Without a new message the judgement stays. After that only the new messages count.
    assert rig.pipeline.step(5 * MS).decision is not Decision.RUN
    slot.received(6 * MS, NOW_NS, NOW_NS)
    assert rig.pipeline.step(6 * MS).decision is Decision.RUN
    assert slot.stamp_fault == "the header stamp is 0"  # for a report once per second


@pytest.mark.parametrize("tipped", ["head", "body"])
def test_every_gravity_term_is_watched(tmp_path: Path, tipped: str) -> None:
    inputs = {name: {"type": IMU, "topic": name} for name in ("body", "head")}
    content = spec_content(inputs=inputs)
    content["observation"][0]["terms"] = [
        term("projected_gravity", input=name, name=name) for name in inputs
    ]
    rig = make_rig(tmp_path, content, size=6, decimation=2, max_tilt_rad=math.radians(30))

    def turn(now_ns: int, **pitches: float) -> None:
        for name in inputs:
            half = math.radians(pitches.get(name, 0.0)) / 2
            rig.feed(name, now_ns, orientation=(0, math.sin(half), 0, math.cos(half)))

    turn(1)
    assert rig.pipeline.step(1).decision is Decision.RUN
    turn(2, **{tipped: 40})  # between two inferences
    assert rig.pipeline.step(2).decision is Decision.SAFE_STOP
    assert rig.pipeline.safety.reason is Reason.TIPPED
    assert rig.pipeline.safety.detail == "40 degrees"
    rig.pipeline.activate()
    turn(3, **{tipped: 50})
    assert rig.pipeline.step(3).decision is Decision.SAFE_STOP
    assert rig.pipeline.safety.detail == "50 degrees"


def test_the_observation_after_a_reset_is_judged(tmp_path: Path) -> None:
    content = spec_content(
        default_joint_pos=0.0,
        action=[{"tensor": "act", "groups": [{"kind": "position", "joints": ["a", "b"]}]}],
    )
    content["observation"][0]["terms"] = [term("joint_velocity", input="joints")]
    rig = make_rig(tmp_path, content, reset_after_ns=50 * MS)

    def tick(now_ns: int) -> Any:
        rig.joints("joints", now_ns, ["a", "b"], velocity=[0.0, 0.0])
        return rig.pipeline.step(now_ns)

    assert tick(1 * MS).inferred
    # A term that is unusable after a reset of the policy, such as a custom term.
    builder, _ = rig.pipeline.policy.tensors[0]
    read, reset = builder.read, builder.reset
    after: list[str] = []
    builder.reset = lambda: (reset(), after.append("obs is not there"))[0]  # type: ignore[method-assign,func-returns-value]
    builder.read = lambda: read() or (after[-1] if after else "")  # type: ignore[method-assign]
    step = tick(200 * MS)
    assert (step.decision, step.inferred) == (Decision.HOLD, False)
    assert rig.pipeline.safety.reason is Reason.OBSERVATION_NOT_FINITE
    assert rig.pipeline.inferences == 1
    assert len(rig.model.seen) == 1


@pytest.mark.parametrize(
    ("row", "says"), [(1.9999999, 2), (2.0000001, 2), (-1e-7, 0), (1.5, None), (1.999, None)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_number_of_a_row_is_rounded_and_nothing_else(
    tmp_path: Path, row: float, says: int | None, dtype: Any
) -> None:
    from core_rig import FakeModel

    argmax = {"table": [[-1.0, 1.0], [0.0, 0.0], [4.0, 5.0]], "by": "index"}
    groups = [{"kind": "velocity", "joints": ["a", "b"], "argmax": argmax}]
    content = spec_content(action=[{"tensor": "act", "groups": groups}])
    model = FakeModel({"obs": (1, 2)}, {"act": np.full((1, 1), row, dtype)})
    rig = make_rig(tmp_path, content, model)
    rig.joints("joints", 1, ["a", "b"], velocity=[0.0, 0.0])
    step = rig.pipeline.step(1)
    if says is None:
        assert rig.pipeline.safety.reason is Reason.ACTION_NOT_FINITE
    else:
        assert step.command is not None
        assert step.command.tolist() == argmax["table"][says]  # type: ignore[index]


def test_a_number_named_twice_in_a_term_is_refused(tmp_path: Path) -> None:
    inputs = {"cmd": {"type": "geometry_msgs/msg/Twist", "topic": "c"}}
    for keys in (
        {"term": "velocity_command", "axes": ["linear.x", "linear.x"]},
        {"term": "field", "fields": ["linear.x", "angular.z", "linear.x"]},
    ):
        content = spec_content(inputs=inputs)
        content["observation"][0]["terms"] = [{"input": "cmd", **keys}]
        (problem,) = refused(make_rig, tmp_path, content, size=2)
        assert "expected each of them once, got 'linear.x' again" in problem


def test_joints_from_before_a_jump_back_are_forgotten_one_by_one() -> None:
    joints = JointSamples(["a", "b"])
    joints.merge(["a", "b"], {"position": [1.0, 2.0]}, 100)
    joints.merge(["b"], {"position": [3.0]}, 5)
    joints.forget_later_than(10)
    assert joints.seen_ns["position"].tolist() == [NEVER, 5]
    assert np.isnan(joints.values["position"][0])
    assert joints.values["position"][1] == 3.0
    assert joints.oldest_ns("position", np.array([0, 1])) == NEVER
    assert joints.oldest_ns("position", np.array([1])) == 5
