"""Joints are read in the same way from a message with some joints and from one with all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_runner.core.inputs.joints import NEVER, JointSamples, RobotJoint

NAMES = ["hip", "knee", "wheel"]
KINDS = ("position", "velocity", "effort")
ROBOT = {
    "hip": RobotJoint("h", -1.0, 0.5),
    "knee": RobotJoint("k", 1.0, -0.25),
    "wheel": RobotJoint("wheel", -1.0),
}
SAID = {"h": (3.0, 6.0, 9.0), "k": (1.0, 4.0, 7.0), "wheel": (2.0, 5.0, 8.0)}
WANTED = {"hip": (-2.5, -6.0, -9.0), "knee": (1.25, 4.0, 7.0), "wheel": (-2.0, -5.0, -8.0)}
NUMBER = st.floats(-100, 100)


def _merge(samples: JointSamples, names: list[str], arrived_ns: int = 1) -> None:
    values = {kind: [SAID[name][k] for name in names] for k, kind in enumerate(KINDS)}
    assert samples.merge(names, values, arrived_ns) == ""


@pytest.mark.parametrize("policy", NAMES)
def test_sign_and_offset_of_a_joint_that_comes_alone(policy: str) -> None:
    samples = JointSamples(NAMES, ROBOT)
    _merge(samples, [ROBOT[policy].name])
    at = NAMES.index(policy)
    for kind, wanted in zip(KINDS, WANTED[policy], strict=True):
        values = samples.values[kind]
        assert values[at] == wanted
        assert np.isnan(np.delete(values, at)).all()
        assert samples.seen_ns[kind].tolist() == [1 if k == at else NEVER for k in range(3)]


def test_two_publishers_with_a_half_of_the_robot_each() -> None:
    samples = JointSamples(NAMES, ROBOT)
    for arrived_ns in (1, 2):  # the second time the names are the same
        _merge(samples, ["wheel", "h"], arrived_ns)
        _merge(samples, ["k"], arrived_ns)
    for k, kind in enumerate(KINDS):
        assert samples.values[kind].tolist() == [WANTED[name][k] for name in NAMES]


@given(
    signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    offsets=st.tuples(*[st.sampled_from([0.0, 0.5, -2.0])] * 3),
    values=st.tuples(*[st.tuples(NUMBER, NUMBER, NUMBER)] * 3),
    parts=st.lists(st.sets(st.sampled_from(NAMES), min_size=1).map(sorted), max_size=5),
)
def test_in_parts_or_whole_is_the_same(
    signs: tuple[float, ...],
    offsets: tuple[float, ...],
    values: tuple[tuple[float, ...], ...],
    parts: list[list[str]],
) -> None:
    robot = {n: RobotJoint(f"r/{n}", signs[k], offsets[k]) for k, n in enumerate(NAMES)}
    whole, cut = JointSamples(NAMES, robot), JointSamples(NAMES, robot)

    def message(names: list[str]) -> dict[str, list[float]]:
        return {
            kind: [values[NAMES.index(name)][k] for name in names] for k, kind in enumerate(KINDS)
        }

    assert whole.merge([f"r/{name}" for name in NAMES], message(NAMES), 1) == ""
    for part in [*parts, *[[name] for name in NAMES]]:
        assert cut.merge([f"r/{name}" for name in part], message(part), 1) == ""
    for kind in KINDS:
        assert cut.values[kind].tolist() == whole.values[kind].tolist()
