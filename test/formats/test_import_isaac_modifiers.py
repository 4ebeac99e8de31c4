"""Isaac Lab's modifiers, filters to limits, velocity offsets and grippers: never dropped."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from foreign_files import IO
from import_rig import facts, unknown

from policy_runner.core.errors import Refusal
from policy_runner.formats.draft import Draft
from policy_runner.formats.isaac_lab import draft_io_descriptors
from policy_runner.formats.modifiers import with_modifiers

INF = float("inf")


def _io(tmp_path: Path, change: Any, size: int = 9) -> Draft:
    content = copy.deepcopy(IO)
    change(content)
    path = tmp_path / "IO_descriptors.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return draft_io_descriptors(path, facts(inputs={"obs": [1, size]}))


def _modifier(name: str, value: Any) -> dict[str, Any]:
    key = {"scale": "multiplier", "bias": "value", "clip": "bounds"}[name]
    return {"func": f"isaaclab.utils.modifiers.modifier:{name}", "params": {key: value}}


def _isaac(x: float, steps: list[tuple[str, Any]], clip: Any, scale: float) -> float:
    """Compute a term's number one modifier after the other, as Isaac Lab does."""
    for name, value in steps:
        if name == "scale":
            x = x * value
        elif name == "bias":
            x = x + value
        else:
            x = min(max(x, value[0]), value[1])
    return min(max(x, clip[0]), clip[1]) * scale


def test_any_sequence_without_memory_is_one_clip_scale_and_offset() -> None:
    random = np.random.default_rng(5)
    kept = 0
    for _ in range(300):
        steps: list[tuple[str, Any]] = []
        for _ in range(random.integers(0, 4)):
            name = str(random.choice(["scale", "bias", "clip"]))
            low, wide = random.uniform(-2, 0.5), random.uniform(0.1, 2)
            value: Any = [low, low + wide] if name == "clip" else float(random.uniform(-2, 2))
            steps.append((name, value))
        clip = [-1.0, 1.5] if random.random() < 0.5 else [-INF, INF]
        scale = float(random.uniform(0.1, 2))
        given = {"name": "x", "extras": {"modifiers": [_modifier(*one) for one in steps]},
                 "overloads": {"clip": clip, "scale": scale}}  # fmt: skip
        term = with_modifiers({"term": "field"}, given)
        if isinstance(term, str):
            assert "exclude each other" in term or "modifier clip" in term
            continue
        kept += 1
        low, high = [v if v is not None else s * INF
                     for v, s in zip(term.get("clip", [None, None]), (-1, 1))]  # fmt: skip
        for x in random.uniform(-4, 4, 8):
            got = min(max(x, low), high) * term.get("scale", 1.0) + term.get("offset", 0.0)
            assert got == pytest.approx(_isaac(x, steps, clip, scale), abs=1e-9)
    assert kept > 150


@pytest.mark.parametrize("place", ["extras", "overloads", ""])
@pytest.mark.parametrize(
    "modifier",
    [
        {"func": "digital_filter"},
        {"func": "isaaclab.utils.modifiers.DigitalFilter", "params": {"A": [0.0], "B": [0.5]}},
        {"func": "isaaclab.utils.modifiers.Integrator", "params": {"dt": 0.02}},
        {"func": "scale", "params": {"multiplier": 2.0, "more": 1}},
        "integrator",
    ],
)
def test_a_modifier_with_a_memory_is_asked_for(place: str, modifier: Any, tmp_path: Path) -> None:
    def change(content: Any) -> None:
        term = content["observations"]["policy"][0]
        (term.setdefault(place, {}) if place else term)["modifiers"] = [modifier]

    draft = _io(tmp_path, change)
    assert "observation[0].terms[0]" in unknown(draft)
    assert "modifier" in draft.spec["observation"][0]["terms"][0]


def test_modifiers_come_before_clip_and_scale(tmp_path: Path) -> None:
    def change(content: Any) -> None:
        term = content["observations"]["policy"][0]
        term["extras"] = {"modifiers": [_modifier("bias", 0.5), _modifier("scale", 2.0)]}
        term["overloads"]["clip"] = [-1.0, 1.0]

    term = _io(tmp_path, change).spec["observation"][0]["terms"][0]
    assert (term["clip"], term["scale"], term["offset"]) == ([-1.0, 0.0], 0.5, 0.25)


def test_velocity_offsets_are_subtracted(tmp_path: Path) -> None:
    def change(content: Any) -> None:
        content["observations"]["policy"][1] = {
            "name": "joint_vel_rel", "shape": [2], "joint_names": ["hip", "knee"],
            "joint_vel_offsets": [0.0, 1.5], "overloads": {},
        }  # fmt: skip

    draft = _io(tmp_path, change, size=7)
    assert draft.spec["observation"][0]["terms"][1]["relative_to"] == [0.0, 1.5]
    assert unknown(draft) == ["observation[0].normalization"]


def test_one_offset_counts_for_all_joints(tmp_path: Path) -> None:
    def change(content: Any) -> None:
        content["observations"]["policy"][1].update(joint_pos_offsets=0.5)

    assert _io(tmp_path, change).spec["observation"][0]["terms"][1]["relative_to"] == [0.5, 0.5]


def test_a_filter_to_limits_keeps_its_weight_and_asks_for_the_limits(tmp_path: Path) -> None:
    def change(content: Any) -> None:
        content["articulations"]["robot"]["default_joint_pos_limits"] = [[-1.0, 2.0], [0.0, 1.0]]
        content["actions"][0] = {
            "name": "ema", "full_path": "x.EMAJointPositionToLimitsAction", "shape": [2],
            "joint_names": ["hip", "knee"], "scale": 0.5, "clip": None, "alpha": 0.95,
        }  # fmt: skip

    draft = _io(tmp_path, change)
    group = draft.spec["action"][0]["groups"][0]
    assert (group["kind"], group["ema"]) == ("position", 0.95)
    assert "[0.75, 0.25]" in group["scale"]
    assert "[0.5, 0.5]" in group["offset"] or "0.5," in group["offset"]
    assert "[-2.0, 2.0]" in group["clip_raw"]
    assert any("starts at the first target" in note for note in draft.notes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"full_path": "x.BinaryJointPositionAction", "shape": [1]}, "1 numbers for 2 joints"),
        ({"open_command": [0.1, 0.1]}, "open_command [0.1, 0.1]"),
        ({"joint_names": None, "body_name": "hand"}, "without joint_names, body_name hand"),
    ],
)
def test_an_action_of_another_rule_is_asked_for(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    draft = _io(tmp_path, lambda content: content["actions"][0].update(changes))
    assert "action[0].groups[0].kind" in unknown(draft)
    assert said in draft.spec["action"][0]["groups"][0]["kind"]


def test_keys_that_are_not_read_are_not_dropped(tmp_path: Path) -> None:
    def change(content: Any) -> None:
        content["observations"]["policy"][0]["delay"] = 2
        content["observations"]["policy"][1]["overloads"]["flatten_history_dim"] = False

    draft = _io(tmp_path, change)
    terms = draft.spec["observation"][0]["terms"]
    assert "delay 2" in terms[0]
    assert "flatten_history_dim false" in terms[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["actions"][0].update(scale={"a": 1.0}), "scale: expected a finite number"),
        (lambda c: c["actions"][0].update(clip="(-1, 1)"), "clip: expected one number"),
        (lambda c: c["actions"][0].update(clip=[0.5]), "clip: expected [low, high], got [0.5]"),
        (lambda c: c["scene"].update(dt="x"), "scene.dt: expected a finite number, got 'x'"),
        (lambda c: c.update(articulations={}), "or one with the name robot, got none"),
        (lambda c: c["articulations"].update(robot=None), "or one with the name robot, got"),
        (lambda c: next(iter(c["articulations"].values())).update(default_joint_pos=[0.1]),
         "default_joint_pos: expected 2 numbers, one per joint, got 1"),
        (lambda c: c["observations"]["policy"][0].update(shape=None), "shape[0]: expected a"),
        (lambda c: c["observations"]["policy"][0]["overloads"].update(history_length=-2),
         "history_length: expected a number of frames, 0 or more, got -2"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_refused_by_key(change: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=re.escape(said)):
        _io(tmp_path, change)


@pytest.mark.parametrize("name", ["DifferentialInverseKinematicsAction", "Foo"])
def test_an_action_of_an_unknown_class_is_asked_for(name: str, tmp_path: Path) -> None:
    """Its own name says position, and its numbers may be poses."""

    def change(content: Any) -> None:
        content["actions"][0].update(name="joint_position", full_path=f"my.actions.{name}")

    draft = _io(tmp_path, change)
    assert f"of the class {name}" in draft.spec["action"][0]["groups"][0]["kind"]


def test_a_modifier_with_no_numbers_is_asked_for(tmp_path: Path) -> None:
    def change(content: Any) -> None:
        content["observations"]["policy"][0]["extras"] = {"modifiers": [_modifier("bias", "x")]}

    assert "the spec has no rule for the modifier bias" in str(
        _io(tmp_path, change).spec["observation"][0]["terms"][0]
    )


def test_terms_with_too_many_numbers_are_asked_for(tmp_path: Path) -> None:
    def change(content: Any) -> None:
        terms = content["observations"]["policy"]
        terms.append(copy.deepcopy(terms[0]))

    said = _io(tmp_path, change).spec["observation"][0]["terms"][-1]
    assert "numbers less: 'obs' has 9, and the terms give" in said
