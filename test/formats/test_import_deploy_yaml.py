"""Drafts of Unitree's deploy.yaml: motor order, Python tags, groups, clocks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from foreign_files import DEPLOY
from import_rig import facts, filled, unknown

from policy_runner.core.errors import Refusal
from policy_runner.formats.deployment.unitree_deploy import draft_deploy_yaml
from policy_runner.formats.draft import Draft
from policy_runner.formats.trainer_yaml import read_yaml


def _deploy(tmp_path: Path, change: Any = None, text: str = "") -> Draft:
    content = json.loads(json.dumps(DEPLOY))
    if change:
        change(content)
    path = tmp_path / "deploy.yaml"
    dumped = yaml.safe_dump(content, sort_keys=False)
    path.write_text(dumped.replace("'@@'", text), encoding="utf-8")
    return draft_deploy_yaml(path, facts(inputs={"obs": [1, 12]}))


def test_deploy_yaml_puts_motor_order_into_policy_order(tmp_path: Path) -> None:
    draft = _deploy(tmp_path)
    assert unknown(draft) == ["joint_names"]
    names = ["left", "right"]
    spec = filled(draft, tmp_path, joint_names=names, action__0__groups__0__joints=names)
    assert spec.stiffness == [20.0, 10.0]
    assert spec.default_joint_pos == [0.1, 0.2]
    group = spec.action[0].groups[0]
    assert (group.scale, group.relative_to, group.offset) == ([0.25, 0.5], "default_joint_pos", 0.0)
    terms: Any = spec.observation[0].terms
    assert (terms[0].clip, terms[0].scale, terms[0].order) == ([-10.0, 10.0], 0.2, "clip_scale")
    assert terms[1].range == [[-0.5, 1.0], [-0.3, 0.3], [-0.2, 0.2]]
    assert spec.observation[0].history is None


@pytest.mark.parametrize(
    ("value", "joints"),
    [
        ("!!python/object/apply:builtins.slice [null, null, null]", None),
        ("!!python/object/apply:builtins.slice [0, 1, null]", "policy index [0]"),
        ("[1]", "policy index [1]"),
        ("[0, 1]", None),
    ],
)
def test_deploy_yaml_may_say_its_joints_with_a_python_tag(
    value: str, joints: str | None, tmp_path: Path
) -> None:
    def change(content: Any) -> None:
        content["actions"]["JointPositionAction"]["joint_ids"] = "@@"

    draft = _deploy(tmp_path, change, value)
    found = draft.spec["action"][0]["groups"][0]["joints"]
    assert (joints is None) == (found is draft.spec["joint_names"])
    assert joints is None or joints in found


def test_other_python_tags_are_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "it_ran"
    path = tmp_path / "deploy.yaml"
    path.write_text(f"a: !!python/object/apply:os.system ['touch {mark}']\n")
    with pytest.raises(Refusal, match="YAML without program code"):
        read_yaml(path)
    assert not mark.exists()
    path.write_text("a: !!python/object/apply:builtins.slice {x: 1}\n")
    with pytest.raises(Refusal):
        read_yaml(path)


def test_grouped_deploy_yaml_says_its_stacking_and_order(tmp_path: Path) -> None:
    def change(content: Any) -> None:
        terms = content["observations"]
        for one in terms.values():
            one["history_length"] = 4
        content["observations"] = {
            "policy": {"use_gym_history": True, "scale_first": True, **terms}
        }

    tensor = _deploy(tmp_path, change).spec["observation"][0]
    assert tensor["history"] == {
        "stack": "frame", "order": "oldest_first", "length": 4, "fill": "repeat"
    }  # fmt: skip
    assert tensor["terms"][0]["order"] == "scale_clip"
    assert tensor["tensor"] == "obs"


def test_deploy_yaml_with_an_unknown_term_or_a_clock(tmp_path: Path) -> None:
    def change(content: Any) -> None:
        params = {"params": {"period": 0.8}, "clip": None, "scale": [1, 1], "history_length": 1}
        content["observations"]["gait_phase"] = params
        content["observations"]["height_map"] = {**params, "scale": [2.0]}

    draft = _deploy(tmp_path, change)
    terms = draft.spec["observation"][0]["terms"]
    assert (terms[5]["period"], terms[5]["start"]) == (0.8, 0.02 / 0.8)
    assert "'height_map'" in terms[6]
    assert "scale [2.0]" in terms[6]
    assert unknown(draft) == ["joint_names", "observation[0].terms[6]"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"joint_ids_map": ["left", "right"]}, "joint_ids_map[0]: expected a whole number"),
        ({"joint_ids_map": [0, 1.5]}, "joint_ids_map[1]: expected a whole number, got 1.5"),
        ({"joint_ids_map": [0, True]}, "joint_ids_map[1]: expected a whole number, got true"),
        ({"joint_ids_map": [0, None]}, "joint_ids_map[1]: expected a whole number, got null"),
        ({"joint_ids_map": 2}, "joint_ids_map: expected a list of whole numbers, got 2"),
        ({"step_dt": "fast"}, "step_dt: expected a finite number, got 'fast'"),
        ({"stiffness": [1.0, "a"]}, "stiffness[1]: expected a finite number, got 'a'"),
        ({"damping": {"a": 1}}, "damping: expected a list of numbers"),
        ({"default_joint_pos": [0.1, float("nan")]}, "default_joint_pos[1]: expected a finite"),
        ({"observations": [1]}, "expected the keys of a unitree deploy"),
    ],
)
def test_a_broken_deploy_yaml_is_refused_by_key(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(Refusal, match=rf"deploy\.yaml: {re.escape(said)}"):
        _deploy(tmp_path, lambda c: c.update(change))


@pytest.mark.parametrize("length", [-1, 2.5, "5", True])
def test_a_history_of_no_whole_length_is_refused(length: Any, tmp_path: Path) -> None:
    def change(content: Any) -> None:
        content["observations"]["joint_pos_rel"]["history_length"] = length

    with pytest.raises(Refusal, match=r"joint_pos_rel.history_length: expected a number of frames"):
        _deploy(tmp_path, change)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"expected the keys of a unitree deploy.*'step_dt'"):
        _deploy(tmp_path, lambda c: c.pop("step_dt"))


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([1, 2], r"joint_ids_map[1] is 2, and there are 2: 0 to 1"),
        ([1, -1], "joint_ids_map[1] is -1"),
        ([1, 1], "joint_ids_map[0] and [1] are both 1"),
        ([0, 1, 2], "joint_ids_map[2] is 2"),
        ([1], "joint_ids_map has 1 motors and default_joint_pos 2 joints"),
    ],
)
def test_joint_ids_that_cannot_be_right_are_asked_for(
    ids: list[int], said: str, tmp_path: Path
) -> None:
    draft = _deploy(tmp_path, lambda c: c.update(joint_ids_map=ids))
    assert {"joint_names", "stiffness", "damping"} <= set(unknown(draft))
    assert said in draft.spec["stiffness"]
    assert "[10.0, 20.0]" in draft.spec["stiffness"]  # the source's own numbers are shown
    assert said in draft.spec["joint_names"]


@pytest.mark.parametrize("ids", [[0, 5], [-1], [1, 1]])
def test_ids_of_an_action_or_a_term_are_checked_too(ids: list[int], tmp_path: Path) -> None:
    def change(content: Any) -> None:
        content["actions"]["JointPositionAction"]["joint_ids"] = ids
        content["observations"]["joint_pos_rel"]["params"] = {"asset_cfg": {"joint_ids": ids}}

    draft = _deploy(tmp_path, change)
    assert "; but joint_ids[" in draft.spec["action"][0]["groups"][0]["joints"]
    assert "; but joint_ids[" in draft.spec["observation"][0]["terms"][2]["joints"]
