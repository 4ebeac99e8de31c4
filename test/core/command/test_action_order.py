"""Order of operations of the action, computed by hand; and the state after a non-finite output."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rig import FakeModel, Rig, make_rig, spec_content, term

from policy_runner.core.safety.decision import Decision, Reason

POSITION = [term("joint_position", input="joints")]


def _rig(folder: Path, *groups: dict[str, Any], outputs: int = 2, **changes: Any) -> Rig:
    content = spec_content(**{"default_joint_pos": [0.5, -0.5], **changes})
    content["observation"][0]["terms"] = POSITION
    for tensor in content["action"]:
        tensor["groups"] = list(groups) or tensor["groups"]
    model = FakeModel({"obs": (1, 2)}, {"act": (1, outputs)})
    return make_rig(folder, content, model)


def _decode(rig: Rig, raw: list[float], measured: tuple[float, float] = (0.0, 0.0)) -> list[float]:
    rig.joints("joints", 1, ["a", "b"], position=measured)
    rig.model.compute = lambda _: {"act": [raw]}
    step = rig.pipeline.step(1)
    assert step.decision is Decision.RUN, rig.pipeline.safety.detail
    assert step.command is not None
    return step.command.tolist()


def _group(**keys: Any) -> dict[str, Any]:
    return {"kind": "position", "joints": ["a", "b"], **keys}


# The targets of one group for raw (2, -4), computed by hand; the default pose is (0.5, -0.5).
BY_HAND: dict[str, tuple[dict[str, Any], list[float]]] = {
    "nothing": ({}, [2, -4]),
    "tanh": ({"squash": "tanh"}, [math.tanh(2), math.tanh(-4)]),
    "tanh, then clip_raw, then scale": (
        {"squash": "tanh", "clip_raw": [-0.5, 0.99], "scale": 10},
        [10 * math.tanh(2), -5],
    ),
    "clip_raw before scale": ({"clip_raw": [-1, 1], "scale": 20}, [20, -20]),
    "clip after scale, offset": ({"scale": 2, "offset": 1, "clip": [-3, 4.5]}, [4.5, -3]),
    "clip_raw per element": ({"clip_raw": [[0, 1], [None, None]]}, [1, -4]),
    "scale in the group's order": ({"scale": [3, 5]}, [6, -20]),
    "scale by joint": ({"scale": {"b": 3, "a": 5}}, [10, -12]),
    "offset by joint": ({"offset": {"b": 3, "a": 5}}, [7, -1]),
    "the default pose and an offset": (
        {"relative_to": "default_joint_pos", "scale": 0.5, "offset": [1, 2]},
        [2.5, -0.5],
    ),
    "another order than joint_names": (
        {"joints": ["b", "a"], "relative_to": "default_joint_pos", "scale": {"a": 1, "b": 10}},
        [19.5, -3.5],
    ),
    "clip of the target with the pose": (
        {"relative_to": "default_joint_pos", "clip": [-1, 1]},
        [1, -1],
    ),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_by_hand(tmp_path: Path, case: str) -> None:
    keys, expected = BY_HAND[case]
    rig = _rig(tmp_path, _group(**keys))
    assert _decode(rig, [2, -4]) == pytest.approx(expected, abs=1e-7)


def test_denormalization_comes_after_clip_raw_and_before_scale(tmp_path: Path) -> None:
    statistics = {"mean": [1.0, 0.0], "std": [2.0, 3.0]}
    formula = {"formula": "mean_std", "eps": 0.0, "eps_in_sqrt": False, "statistics": statistics}
    action = [{"tensor": "act", "groups": [], "denormalization": formula}]
    rig = _rig(tmp_path, _group(clip_raw=[-1, 1], scale=10, offset=0.5), action=action)
    # (1 x 2 + 1) x 10 + 0.5 and (-1 x 3) x 10 + 0.5
    assert _decode(rig, [2, -4]) == pytest.approx([30.5, -29.5])


def test_previous_target_adds_up_after_the_clip(tmp_path: Path) -> None:
    rig = _rig(tmp_path, _group(relative_to="previous_target", scale=0.5, clip=[-3, 3]))
    # It starts at the default pose, [0.5, -0.5].
    assert _decode(rig, [2, -4]) == [1.5, -2.5]
    assert _decode(rig, [2, -4]) == [2.5, -3]
    assert _decode(rig, [2, 2]) == [3, -2]
    rig.pipeline.reset()
    assert _decode(rig, [2, 2]) == [1.5, 0.5]


def test_measured(tmp_path: Path) -> None:
    rig = _rig(tmp_path, _group(joints=["b", "a"], relative_to="measured", scale=0.5))
    assert _decode(rig, [2, -4], measured=(10, 20)) == [21, 8]
    assert _decode(rig, [2, -4], measured=(11, 20)) == [21, 9]


def test_ema_starts_at_the_first_target(tmp_path: Path) -> None:
    rig = _rig(tmp_path, _group(joints=["a"], ema=0.25), _group(joints=["b"]))
    assert _decode(rig, [8, 8]) == [8, 8]
    assert _decode(rig, [0, 0]) == [6, 0]
    assert _decode(rig, [0, 4]) == [4.5, 4]
    rig.pipeline.reset()
    assert _decode(rig, [1, 1]) == [1, 1]


def test_groups_of_several_kinds_and_slices(tmp_path: Path) -> None:
    rig = _rig(
        tmp_path,
        {"kind": "velocity", "joints": ["a"], "slice": [3, 4], "scale": 2},
        {"kind": "position", "joints": ["b", "a"], "slice": [0, 2]},
        outputs=4,
    )
    assert [(e.joint, e.kind) for e in rig.pipeline.elements] == [
        ("a", "velocity"), ("b", "position"), ("a", "position"),
    ]  # fmt: skip
    assert _decode(rig, [1, 2, 3, 4]) == [8, 1, 2]


def test_two_output_tensors(tmp_path: Path) -> None:
    action = [
        {"tensor": "left", "groups": [{"kind": "velocity", "joints": ["b"]}]},
        {"tensor": "right", "groups": [{"kind": "velocity", "joints": ["a"], "scale": 3}]},
    ]
    model = FakeModel({"obs": (1, 2)}, {"right": (1, 1), "left": (1,)})
    rig = make_rig(tmp_path, spec_content(action=action), model)
    model.compute = lambda _: {"left": [5], "right": [[7]]}
    rig.joints("joints", 1, ["a", "b"], velocity=[0, 0])
    step = rig.pipeline.step(1)
    assert step.command is not None
    assert step.command.tolist() == [5, 21]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_types_of_the_output(tmp_path: Path, dtype: type[np.generic]) -> None:
    content = spec_content()
    model = FakeModel({"obs": (1, 2)}, {"act": np.zeros((1, 2), dtype)})
    model.compute = lambda _: {"act": [[3, -2]]}
    rig = make_rig(tmp_path, content, model)
    rig.joints("joints", 1, ["a", "b"], velocity=[0, 0])
    step = rig.pipeline.step(1)
    assert step.command is not None
    assert step.command.tolist() == [3, -2]


# raw (2, -4) clipped to (1, -1), x 10, limited to (5, -5) by the robot.
LAST = {"raw": [2, -4], "clipped": [1, -1], "target": [10, -10], "limited": [5, -5]}


@pytest.mark.parametrize("kind", LAST)
def test_last_action_of_every_kind(tmp_path: Path, kind: str) -> None:
    from policy_runner.core.settings import CommandLimits

    content = spec_content(last_action=kind)
    content["observation"][0]["terms"] = [*POSITION, term("last_action")]
    content["action"][0]["groups"] = [_group(clip_raw=[-1, 1], scale=10)]
    limits = CommandLimits(np.full(2, -5.0), np.full(2, 5.0), np.full(2, np.inf))
    rig = make_rig(tmp_path, content, size=4, limits=limits)
    assert _decode(rig, [2, -4]) == [5, -5]
    assert rig.model.inputs["obs"][0, 2:].tolist() == [0, 0]
    _decode(rig, [0, 0])
    assert rig.model.inputs["obs"][0, 2:].tolist() == LAST[kind]
    _decode(rig, [0, 0])
    assert rig.model.inputs["obs"][0, 2:].tolist() == [0, 0]


@pytest.mark.parametrize("raw", [[math.nan, 0], [0, math.inf], [-math.inf, math.nan]])
def test_output_that_is_not_finite_moves_nothing(tmp_path: Path, raw: list[float]) -> None:
    rig = _rig(tmp_path, _group(clip_raw=[-1, 1], clip=[-1, 1], ema=0.5), last_action="target")
    _decode(rig, [0.5, 0.25])
    decoder = rig.pipeline.policy.decoder
    before = [x.tolist() for x in (decoder.raw, decoder.clipped, decoder.target)]
    rig.model.compute = lambda _: {"act": [raw]}
    with np.errstate(invalid="ignore"):
        step = rig.pipeline.step(2)
    assert (step.decision, step.inferred) == (Decision.SAFE_STOP, True)
    assert rig.pipeline.safety.reason is Reason.ACTION_NOT_FINITE
    assert step.command is not None
    assert step.command.tolist() == [0.5, 0.25]  # a position is held
    assert [x.tolist() for x in (decoder.raw, decoder.clipped, decoder.target)] == before
    assert rig.pipeline.inferences == 1


def test_target_that_overflows_is_no_command(tmp_path: Path) -> None:
    content = spec_content()
    content["action"][0]["groups"][0]["scale"] = 1e300
    model = FakeModel({"obs": (1, 2)}, {"act": np.zeros((1, 2), np.float64)})
    model.compute = lambda _: {"act": [[1e300, 1]]}
    rig = make_rig(tmp_path, content, model)
    rig.joints("joints", 1, ["a", "b"], velocity=[0, 0])
    with np.errstate(all="ignore"):
        step = rig.pipeline.step(1)
    assert step.decision is Decision.SAFE_STOP
    assert step.command is not None
    assert step.command.tolist() == [0, 0]
