"""Isaac Lab's modifiers, filters to limits, velocity offsets and grippers: never dropped."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from foreign_files import IO
from import_rig import facts, unknown

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
