"""Joints by name: laws for permuting, prefixing, mixing and merging; signs, offsets, ages."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, Rig, make_rig, spec_content, term
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy_runner.core.inputs.joints import NEVER, JointSamples, RobotJoint
from policy_runner.core.safety.decision import Decision, Reason

NAMES = ["hip", "knee", "wheel"]
NUMBER = st.floats(-100, 100)


def _values(samples: JointSamples) -> list[list[float]]:
    return [samples.values[kind].tolist() for kind in ("position", "velocity", "effort")]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a busy machine
@given(
    values=st.fixed_dictionaries({name: st.tuples(NUMBER, NUMBER, NUMBER) for name in NAMES}),
    foreign=st.lists(st.sampled_from(["arm", "neck", "hip2"]), unique=True),
    data=st.data(),
)
def test_order_foreign_joints_and_parts_change_nothing(
    values: dict[str, tuple[float, ...]], foreign: list[str], data: st.DataObject
) -> None:
    plain = JointSamples(NAMES)
    kinds = ("position", "velocity", "effort")
    whole = {kind: [values[name][k] for name in NAMES] for k, kind in enumerate(kinds)}
    assert plain.merge(NAMES, whole, 5) == ""

    prefixed = JointSamples(NAMES, {name: RobotJoint(f"robot/{name}") for name in NAMES})
    everything = [f"robot/{name}" for name in NAMES] + foreign
    order = data.draw(st.permutations(everything))
    cut = data.draw(st.integers(0, len(order)))
    for part in (order[:cut], order[cut:]):
        message = {
            kind: [values[n[6:]][k] if n[:6] == "robot/" else 1e9 for n in part]
            for k, kind in enumerate(kinds)
        }
        assert prefixed.merge(part, message, 5) == ""
    assert _values(prefixed) == _values(plain)
    assert all((seen == 5).all() for seen in prefixed.seen_ns.values())


def test_an_empty_array_says_nothing() -> None:
    samples = JointSamples(NAMES)
    samples.merge(NAMES, {"position": [1, 2, 3], "velocity": [4, 5, 6]}, 1)
    samples.merge(NAMES, {"position": [7, 8, 9], "velocity": []}, 2)
    assert _values(samples)[:2] == [[7, 8, 9], [4, 5, 6]]
    assert samples.seen_ns["position"].tolist() == [2, 2, 2]
    assert samples.seen_ns["velocity"].tolist() == [1, 1, 1]
    assert samples.seen_ns["effort"].tolist() == [NEVER] * 3


def test_part_keeps_the_others_value_and_age() -> None:
    samples = JointSamples(NAMES)
    samples.merge(["wheel", "hip"], {"position": [3, 1]}, 1)
    samples.merge(["knee", "wheel"], {"position": [2, 30]}, 2)
    assert samples.values["position"].tolist() == [1, 2, 30]
    assert samples.seen_ns["position"].tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    ("names", "values", "fault"),
    [
        (
            ["hip", "knee"],
            {"position": [1, 2], "velocity": [1]},
            "1 values of velocity for 2 names",
        ),
        (["hip"], {"position": [1, 2]}, "2 values of position for 1 names"),
        (["hip", "hip"], {"position": [1, 2]}, "a joint name twice in one message"),
    ],
)
def test_of_an_unusable_message_nothing_is_taken(
    names: list[str], values: dict[str, Any], fault: str
) -> None:
    samples = JointSamples(NAMES)
    samples.merge(NAMES, {"position": [7, 8, 9], "velocity": [4, 5, 6]}, 1)
    assert samples.merge(names, values, 2) == fault
    assert _values(samples)[:2] == [[7, 8, 9], [4, 5, 6]]
    assert samples.seen_ns["position"].tolist() == [1, 1, 1]
    assert samples.merge(["hip"], {"position": [0]}, 3) == ""


def test_sign_and_offset_of_the_robot() -> None:
    # robot = sign x policy + offset, and only a position has an offset.
    robot = {"hip": RobotJoint("h", -1.0, 0.5), "knee": RobotJoint("knee", 1.0, 0.25)}
    samples = JointSamples(NAMES, robot)
    samples.merge(
        ["knee", "wheel", "h"],
        {"position": [1.0, 2.0, 3.0], "velocity": [4.0, 5.0, 6.0], "effort": [7.0, 8.0, 9.0]},
        1,
    )
    assert _values(samples) == [[-2.5, 0.75, 2.0], [-6.0, 4.0, 5.0], [-9.0, 7.0, 8.0]]


def _rig(folder: Path, *terms: dict[str, Any], size: int, **changes: Any) -> Rig:
    content = spec_content(**changes)
    content["observation"][0]["terms"] = list(terms)
    return make_rig(folder, content, size=size)


def test_only_the_joints_that_are_read_are_waited_for(tmp_path: Path) -> None:
    # The policy may drive a joint that it does not read from this input.
    rig = _rig(tmp_path, term("joint_position", input="joints", joints=["b"]), size=1)
    rig.joints("joints", 1, ["b"], position=[2.0])
    assert rig.pipeline.step(2).decision is Decision.RUN
    assert rig.pipeline.slots["joints"].oldest_ns == 1


def test_two_inputs_with_their_own_joints(tmp_path: Path) -> None:
    kind = "sensor_msgs/msg/JointState"
    rig = _rig(
        tmp_path,
        term("joint_position", input="left", joints=["a"]),
        term("joint_position", input="right", joints=["b"]),
        size=2,
        inputs={"left": {"type": kind, "topic": "l"}, "right": {"type": kind, "topic": "r"}},
        action=[
            {
                "tensor": "act",
                "groups": [{"kind": "position", "joints": ["b", "a"], "relative_to": "measured"}],
            }
        ],
    )
    rig.joints("left", 1, ["a"], position=[2.0])
    rig.joints("right", 1, ["b"], position=[5.0])
    step = rig.pipeline.step(2)
    assert step.decision is Decision.RUN
    assert step.command is not None
    assert step.command.tolist() == [5.0, 2.0]  # each joint from the input that contains it
    assert rig.model.inputs["obs"].tolist() == [[2.0, 5.0]]


def test_missing_joints_are_named(tmp_path: Path) -> None:
    rig = _rig(
        tmp_path,
        term("joint_velocity", input="joints"),
        term("joint_position", input="joints", joints=["b"]),
        size=3,
    )
    rig.pipeline.step(0)
    assert rig.pipeline.safety.detail == "joints: no message yet"
    rig.joints("joints", 1, ["a"], velocity=[1.0], position=[1.0])
    assert rig.pipeline.step(2).decision is Decision.STARTING
    assert rig.pipeline.safety.reason is Reason.INPUT_MISSING
    assert rig.pipeline.safety.detail == "joints: velocity of b, position of b"
    rig.joints("joints", 3, ["b"], velocity=[1.0], position=[1.0])
    assert rig.pipeline.step(4).decision is Decision.RUN


def test_one_joint_that_stays_away_stops_the_run(tmp_path: Path) -> None:
    rig = _rig(tmp_path, term("joint_velocity", input="joints"), size=2)
    rig.joints("joints", 1, ["a", "b"], velocity=[1.0, 2.0])
    assert rig.pipeline.step(2).decision is Decision.RUN
    rig.joints("joints", 150 * MS, ["a"], velocity=[1.0])
    assert rig.pipeline.step(150 * MS).decision is Decision.HOLD
    assert rig.pipeline.safety.reason is Reason.INPUT_STALE
    assert rig.pipeline.safety.detail == "joints: velocity of b: 0.150 s old"


def test_not_a_number_of_a_joint_is_a_fault_until_the_next_number(tmp_path: Path) -> None:
    rig = _rig(tmp_path, term("joint_velocity", input="joints"), size=2)
    rig.joints("joints", 1, ["a", "b"], velocity=[1.0, 2.0])
    rig.pipeline.step(2)
    rig.joints("joints", 3, ["a", "b"], velocity=[1.0, math.nan])
    assert rig.pipeline.step(4).decision is Decision.HOLD
    assert rig.pipeline.safety.detail == "obs: joint_velocity/b is nan"
    rig.joints("joints", 5, ["b"], velocity=[2.0])
    assert rig.pipeline.step(6).decision is Decision.RUN


def test_terms_take_joints_in_the_order_they_say(tmp_path: Path) -> None:
    rig = _rig(
        tmp_path,
        term("joint_position", input="joints", joints=["b", "a"], relative_to="default_joint_pos"),
        term("joint_effort", input="joints", joints=["b"]),
        size=3,
        default_joint_pos=[0.5, 2.0],
    )
    rig.joints("joints", 1, ["b", "x", "a"], position=[5, 99, 1], effort=[7, 99, 8])
    rig.pipeline.step(1)
    assert np.asarray(rig.model.inputs["obs"]).tolist() == [[3.0, 0.5, 7.0]]
