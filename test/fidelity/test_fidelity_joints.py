"""The order of joints and their distribution over messages do not change the observation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import MS, FakeModel, Rig, make_rig, spec_content, term
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.safety.decision import Decision

JOINTS = ["hip", "knee", "ankle", "wheel"]
NUMBERS = st.lists(st.floats(-10, 10), min_size=4, max_size=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("joints")


def _rig(folder: Path, robot: dict[str, RobotJoint] | None = None) -> Rig:
    content = spec_content(joint_names=JOINTS)
    content["observation"][0]["terms"] = [
        term("joint_position", input="joints", joints=["wheel", "hip", "ankle", "knee"]),
        term("joint_velocity", input="joints"),
    ]
    content["action"][0]["groups"][0]["joints"] = JOINTS
    model = FakeModel({"obs": np.zeros((1, 8))}, {"act": (1, 4)})
    return make_rig(folder, content, model, robot=robot)


def _seen(rig: Rig) -> list[float]:
    step = rig.pipeline.step(MS)
    assert step.decision is Decision.RUN, rig.pipeline.safety.detail
    return [float(x) for x in rig.model.seen[-1]["obs"][0]]


def _expected(position: list[float], velocity: list[float]) -> list[float]:
    return [position[3], position[0], position[2], position[1], *velocity]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), position=NUMBERS, velocity=NUMBERS)
def test_permuted_among_foreign_ones(
    folder: Path, data: st.DataObject, position: list[float], velocity: list[float]
) -> None:
    rig = _rig(folder)
    foreign = data.draw(st.lists(st.sampled_from(["arm", "lid", "pan"]), unique=True))
    named = [*JOINTS, *foreign]
    order = data.draw(st.permutations(range(len(named))))
    values = {"position": [*position, *[99.0] * 3], "velocity": [*velocity, *[-99.0] * 3]}
    shuffled: dict[str, Any] = {kind: [one[k] for k in order] for kind, one in values.items()}
    assert rig.joints("joints", MS, [named[k] for k in order], **shuffled) == ""
    assert _seen(rig) == pytest.approx(_expected(position, velocity), abs=0)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    prefix=st.sampled_from(["", "robot1/", "left_"]),
    signs=st.lists(st.sampled_from([1.0, -1.0]), min_size=4, max_size=4),
    offsets=st.lists(st.floats(-3, 3), min_size=4, max_size=4),
    position=NUMBERS,
    velocity=NUMBERS,
)
def test_renamed_turned_and_moved(
    folder: Path,
    prefix: str,
    signs: list[float],
    offsets: list[float],
    position: list[float],
    velocity: list[float],
) -> None:
    robot = {
        name: RobotJoint(prefix + name, sign, offset)
        for name, sign, offset in zip(JOINTS, signs, offsets, strict=True)
    }
    rig = _rig(folder, robot)
    rig.joints(
        "joints",
        MS,
        [prefix + name for name in JOINTS],
        position=[s * q + o for s, q, o in zip(signs, position, offsets, strict=True)],
        velocity=[s * v for s, v in zip(signs, velocity, strict=True)],
    )
    assert _seen(rig) == pytest.approx(_expected(position, velocity), abs=1e-12)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), position=NUMBERS, velocity=NUMBERS)
def test_merged_from_several_messages(
    folder: Path, data: st.DataObject, position: list[float], velocity: list[float]
) -> None:
    """Each joint is in a random message; its position and velocity may be in different ones."""
    rig = _rig(folder)
    parts = data.draw(st.lists(st.integers(0, 2), min_size=8, max_size=8))
    for part in data.draw(st.permutations([0, 1, 2])):
        for kind, values, start in (("position", position, 0), ("velocity", velocity, 4)):
            mine = [k for k in range(4) if parts[start + k] == part]
            if mine:
                names = [JOINTS[k] for k in mine]
                rig.joints("joints", MS, names, **{kind: [values[k] for k in mine]})
    assert _seen(rig) == pytest.approx(_expected(position, velocity), abs=0)
