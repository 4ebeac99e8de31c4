"""Two sources of one policy that contradict each other: both are shown, the user chooses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from foreign_files import CSV, DEPLOY
from import_rig import facts, unknown

from policy_runner.core.model import ModelFacts
from policy_runner.formats.conflicts import mark_conflicts
from policy_runner.formats.deployment.unitree_deploy import draft_deploy_yaml
from policy_runner.formats.detect import draft_model, neighbours
from policy_runner.formats.draft import Draft

# The metadata that agrees with DEPLOY, of which the gains are in motor order.
AGREES = {
    **CSV, "joint_names": "left,right", "joint_stiffness": "20.000,10.000",
    "joint_damping": "2.000,1.000", "default_joint_pos": "0.100,0.200",
    "observation_names": "base_ang_vel,velocity_commands,joint_pos,joint_vel,actions",
    "observation_terms_scale": "0.200,1.000,1.000,0.050,1.000",
    "observation_terms_clip": "-10;10,-inf;inf,-inf;inf,-inf;inf,-inf;inf",
    "action_scale": "0.250,0.500",
}  # fmt: skip


def _both(tmp_path: Path, **metadata: str) -> tuple[Draft, ModelFacts]:
    model = facts({**AGREES, **metadata}, inputs={"obs": [1, 12]})
    path = tmp_path / "deploy.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(DEPLOY)), sort_keys=False))
    draft = draft_deploy_yaml(path, model)
    others, failed = neighbours(path, model)
    assert failed == []
    for other in others:
        mark_conflicts(draft, other)
    return draft, model


def test_sources_that_agree_change_nothing_but_the_hint(tmp_path: Path) -> None:
    draft, _ = _both(tmp_path)
    assert unknown(draft) == ["joint_names"]
    assert draft.spec["joint_names"].endswith("policy.onnx's metadata lists left, right")
    assert draft.spec["action"][0]["groups"][0]["joints"] is draft.spec["joint_names"]
    assert not any("contradict" in note for note in draft.notes)


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("joint_stiffness", "10.000,20.000", "stiffness"),
        ("joint_damping", "2.000,1.500", "damping"),
        ("default_joint_pos", "0.100,0.210", "default_joint_pos"),
        ("action_scale", "0.250,0.250", "action[0].groups[0].scale"),
        ("observation_terms_scale", "0.250,1.000,1.000,0.050,1.000",
         "observation[0].terms[0].scale"),
        ("observation_terms_clip", "-5;5,-inf;inf,-inf;inf,-inf;inf,-inf;inf",
         "observation[0].terms[0].clip"),
        ("observation_terms_history_length", "5,5,5,5,5", "observation[0].history.length"),
        ("observation_names", "velocity_commands,base_ang_vel,joint_pos,joint_vel,actions",
         "observation[0].terms[5]"),
    ],
)  # fmt: skip
def test_each_contradiction_shows_both_values(
    key: str, value: str, place: str, tmp_path: Path
) -> None:
    draft, _ = _both(tmp_path, **{key: value})
    assert unknown(draft) == ["joint_names", place]
    said = dict(draft.unknown)[place]
    assert "deploy.yaml says" in said
    assert "policy.onnx's metadata says" in said
    assert any("contradict each other in 1 places" in note for note in draft.notes)


def test_rounding_is_no_contradiction(tmp_path: Path) -> None:
    draft, _ = _both(tmp_path, joint_stiffness="20.049,10.000")
    assert unknown(draft) == ["joint_names"]
    draft, _ = _both(tmp_path, joint_stiffness="20.200,10.000")
    assert unknown(draft) == ["joint_names", "stiffness"]


def test_the_model_is_compared_with_the_files_next_to_it(tmp_path: Path) -> None:
    _both(tmp_path)
    (tmp_path / "exported").mkdir()
    model = facts({**AGREES, "joint_stiffness": "1.500,2.500"})
    for folder in (tmp_path, tmp_path / "exported"):
        inside = ModelFacts(folder / "policy.onnx", *list(vars(model).values())[1:])
        draft = draft_model(inside)
        others, failed = neighbours(inside.path, inside)
        assert failed == []
        assert [mark_conflicts(draft, other) for other in others] == [1]
        assert "deploy.yaml says [20, 10]" in draft.spec["stiffness"]
    (tmp_path / "deploy.yaml").write_text(yaml.safe_dump({**DEPLOY, "step_dt": "fast"}))
    others, failed = neighbours(tmp_path / "policy.onnx", model_at(tmp_path, model))
    assert others == []
    assert failed[0].startswith("not compared: ")


def model_at(folder: Path, model: ModelFacts) -> ModelFacts:
    return ModelFacts(folder / "policy.onnx", *list(vars(model).values())[1:])


def test_joints_in_another_order_are_compared_by_name(tmp_path: Path) -> None:
    model = facts({**AGREES, "joint_names": "right,left"})
    one = Draft("x", [tmp_path / "a.yaml"], {
        "joint_names": ["left", "right"], "stiffness": [10.0, 20.0], "damping": [1.0, 2.0],
        "default_joint_pos": [0.2, 0.1],
    })  # fmt: skip
    found: Any = mark_conflicts(one, draft_model(model))
    assert found == 1
    assert "[right, left]" in one.spec["joint_names"]
    assert one.spec["stiffness"] == [10.0, 20.0]
