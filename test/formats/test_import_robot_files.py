"""Drafts of Isaac Lab's descriptors and rl_sar's configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from foreign_files import IO
from import_rig import facts, filled, unknown

from policy_runner.core.errors import Refusal
from policy_runner.formats.deployment.rl_sar import draft_rl_sar
from policy_runner.formats.detect import draft_model, find_reader, model_in
from policy_runner.formats.draft import Draft
from policy_runner.formats.isaac_lab import draft_io_descriptors


def _io(tmp_path: Path, size: int = 9, change: Any = None) -> Draft:
    content = json.loads(json.dumps(IO))
    if change:
        change(content)
    path = tmp_path / "IO_descriptors.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return draft_io_descriptors(path, facts(inputs={"obs": [1, size]}))


def test_descriptors_say_all_but_the_normalizer(tmp_path: Path) -> None:
    draft = _io(tmp_path)
    assert unknown(draft) == ["observation[0].normalization"]
    spec = filled(draft, tmp_path, observation__0__normalization="in_model")
    assert spec.control_dt == 0.02
    assert spec.stiffness == [25.0, 30.0]
    terms: Any = spec.observation[0].terms
    assert terms[0].scale == 0.25
    assert terms[1].joints == ["knee", "hip"]
    assert terms[1].relative_to == "default_joint_pos"
    assert terms[1].clip == [-5.0, 5.0]
    history: Any = spec.observation[0].history
    assert history.length == {"base_ang_vel": 1, "joint_pos_rel": 2, "last_action": 1}
    group = spec.action[0].groups[0]
    assert (group.kind, group.scale, group.relative_to) == ("position", 0.5, "default_joint_pos")


def test_terms_that_the_file_left_out_are_missed(tmp_path: Path) -> None:
    draft = _io(tmp_path, size=196)
    assert unknown(draft) == ["observation[0].terms[3]", "observation[0].normalization"]
    assert "187 more numbers" in draft.spec["observation"][0]["terms"][3]


def test_offsets_and_rates_that_differ_are_kept_or_noted(tmp_path: Path) -> None:
    def change(content: Any) -> None:
        content["observations"]["policy"][1]["joint_pos_offsets"] = [0.0, 0.3]
        content["scene"]["dt"] = 0.05
        content["articulations"]["robot"]["default_joint_stiffness"] = [0.0, 0.0]
        content["actions"][0].update(offset=0.5, clip=[[-1.0, 1.0], [-2.0, 2.0]])

    draft = _io(tmp_path, change=change)
    assert draft.spec["observation"][0]["terms"][1]["relative_to"] == [0.0, 0.3]
    assert any("not physics_dt * decimation" in note for note in draft.notes)
    assert any("stiffness is 0" in note for note in draft.notes)
    group = draft.spec["action"][0]["groups"][0]
    assert (group["offset"], group["clip"]) == (0.5, [[-1.0, 1.0], [-2.0, 2.0]])


def test_broken_descriptors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"keys of IO_descriptors\.yaml"):
        _io(tmp_path, change=lambda c: c["scene"].pop("dt"))


BASE = {
    "dt": 0.005, "decimation": 4, "num_of_dofs": 3, "wheel_indices": [2],
    "default_dof_pos": [9.0, 9.0, 9.0], "joint_names": ["a", "b", "w"], "joint_mapping": [0, 1, 2],
    "torque_limits": [20.0, 20.0, 5.0],
}  # fmt: skip
CONFIG = {
    "model_name": "policy.onnx",
    "observations": ["ang_vel", "commands", "dof_pos", "dof_vel", "actions"],
    "observations_history": [], "observations_history_priority": "time", "clip_obs": 100.0,
    "clip_actions_lower": [-1.0, -2.0, -3.0], "clip_actions_upper": [1.0, 2.0, 3.0],
    "rl_kp": [20.0, 20.0, 0.0], "rl_kd": [0.5, 0.5, 0.5], "action_scale": [0.125, 0.25, 5.0],
    "ang_vel_scale": 0.25, "dof_pos_scale": 1.0, "dof_vel_scale": 0.05,
    "commands_scale": [2.0, 2.0, 0.25], "default_dof_pos": [0.0, 0.5, 0.0],
}  # fmt: skip


def _rl_sar(tmp_path: Path, **changes: Any) -> Draft:
    folder = tmp_path / "robot" / "cfg"
    folder.mkdir(parents=True, exist_ok=True)
    base = {key: changes.pop(key, value) for key, value in BASE.items()}
    (tmp_path / "robot" / "base.yaml").write_text(yaml.safe_dump({"robot": base}))
    (folder / "config.yaml").write_text(yaml.safe_dump({"robot/cfg": {**CONFIG, **changes}}))
    return draft_rl_sar(folder / "config.yaml", facts(inputs={"obs": [1, 15]}))


def test_rl_sar_is_complete(tmp_path: Path) -> None:
    draft = _rl_sar(tmp_path)
    assert unknown(draft) == []
    spec = filled(draft, tmp_path)
    assert spec.control_dt == 0.02
    assert spec.default_joint_pos == [0.0, 0.5, 0.0]  # the policy's, not the robot's
    terms: Any = spec.observation[0].terms
    assert terms[1].scale == [2.0, 2.0, 0.25]
    assert terms[2].scale == [1.0, 1.0, 0.0]  # wheel positions are not observed
    assert spec.observation[0].clip == [-100.0, 100.0]
    legs, wheels = spec.action[0].groups
    assert (legs.kind, legs.clip_raw, legs.scale) == (
        "position", [[-1.0, 1.0], [-2.0, 2.0]], [0.125, 0.25]
    )  # fmt: skip
    assert (wheels.kind, wheels.clip_raw, wheels.scale) == ("velocity", [-3.0, 3.0], 5.0)
    assert (legs.relative_to, wheels.relative_to) == ("default_joint_pos", "zero")
    assert spec.last_action == "clipped"


def test_rl_sar_motions_are_imported_as_such(tmp_path: Path) -> None:
    names = [f"whole_body_tracking/{one}" for one in ("motion_command", "motion_anchor_ori_b")]
    changes: dict[str, Any] = {"observations": [*names, "dof_pos"], "wheel_indices": [],
                               "joint_mapping": [2, 0, 1], "motion_file": "dance.csv"}  # fmt: skip
    draft = _rl_sar(tmp_path, waist_joint_indices=[1, 0, 2], **changes)
    assert unknown(draft) == ["motions.reference.file"]
    assert "convert motion dance.csv" in draft.spec["motions"]["reference"]["file"]
    draft.spec["motions"]["reference"]["file"] = "dance.npz"
    motion, anchor, _ = filled(draft, tmp_path).observation[0].terms or []
    assert getattr(motion, "values", None) == ["joint_position", "joint_velocity"]
    assert (anchor.term, anchor.align, anchor.layout) == ("motion_orientation", "yaw", "rows")
    assert [(one.joint, one.axis) for one in anchor.chain] == [("b", "z"), ("a", "x"), ("w", "y")]
    for wrong in ([1, 0], [1, 0, 3], [1, 0, 0]):
        with pytest.raises(Refusal, match="waist_joint_indices: expected three indices of joint"):
            _rl_sar(tmp_path, waist_joint_indices=wrong, **changes)


@pytest.mark.parametrize(
    ("lags", "priority", "history"),
    [
        ([0, 1, 2], "time", {"stack": "frame", "order": "newest_first", "length": 3}),
        ([2, 1, 0], "term", {"stack": "term", "order": "oldest_first", "length": 3}),
        ([0, 2, 4], "time", {"stack": "frame", "order": "newest_first", "lags": [0, 2, 4]}),
        ([0], "time", None),
    ],
)
def test_rl_sar_histories_start_with_zeros(
    lags: list[int], priority: str, history: Any, tmp_path: Path
) -> None:
    draft = _rl_sar(tmp_path, observations_history=lags, observations_history_priority=priority)
    wanted = {**history, "fill": "zeros"} if history else None
    assert draft.spec["observation"][0].get("history") == wanted


def test_rl_sar_names_follow_the_mapping_and_unknown_terms_are_asked_for(tmp_path: Path) -> None:
    draft = _rl_sar(tmp_path, joint_mapping=[1, 0, 2], observations=["ang_vel_world", "magic"],
                    model_name="policy.pt")  # fmt: skip
    assert draft.spec["joint_names"] == ["b", "a", "w"]
    assert unknown(draft) == ["inputs", "observation[0].terms[0]", "observation[0].terms[1]"]
    assert any("policy.pt" in note for note in draft.notes)


def test_rl_sar_without_its_base_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"robot/cfg": CONFIG}))
    with pytest.raises(Refusal, match=r"section 'robot' \(dt, decimation, joint_names, joint_map"):
        draft_rl_sar(path, facts())


def _write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


def test_rl_sar_finds_the_section_of_its_robot_any_number_of_folders_up(tmp_path: Path) -> None:
    other = {**BASE, "joint_names": ["x", "y", "z"], "dt": 1.0}
    _write(tmp_path / "base.yaml", {"robot": BASE, "zobot": other})
    _write(tmp_path / "robot" / "a" / "base.yaml", {"zobot": other})  # of another robot
    path = _write(tmp_path / "robot" / "a" / "b" / "config.yaml", {"robot/a/b": CONFIG})
    draft = draft_rl_sar(path, facts(inputs={"obs": [1, 15]}))
    assert (draft.spec["control_dt"], draft.spec["joint_names"]) == (0.02, ["a", "b", "w"])


@pytest.mark.parametrize("layout", ["one section", "no section", "two sections"])
def test_rl_sar_takes_all_keys_from_one_file(layout: str, tmp_path: Path) -> None:
    both = {**BASE, **CONFIG}
    content = {"one section": {"robot/cfg": both}, "no section": both,
               "two sections": {"robot": BASE, "robot/cfg": CONFIG}}[layout]  # fmt: skip
    path = _write(tmp_path / "config.yaml", content)
    draft = find_reader(path)[0](facts(inputs={"obs": [1, 15]}))
    assert draft.spec["joint_names"] == ["a", "b", "w"]
    assert draft.sources == [path]


def test_rl_sar_never_takes_the_last_of_several_policies(tmp_path: Path) -> None:
    both = {**BASE, **CONFIG}
    content = {"robot/one": {**both, "dt": 0.001}, "robot/two": both}
    path = _write(tmp_path / "config.yaml", content)
    with pytest.raises(Refusal, match="sections robot/one, robot/two"):
        draft_rl_sar(path, facts(inputs={"obs": [1, 15]}))
    path = _write(tmp_path / "robot" / "one" / "config.yaml", content)
    assert draft_rl_sar(path, facts(inputs={"obs": [1, 15]})).spec["control_dt"] == 0.004


@pytest.mark.parametrize(
    ("key", "value"),
    [("rl_kd", [0.5, 0.5]), ("action_scale", [1.0]), ("default_dof_pos", [0.0] * 4),
     ("clip_actions_lower", [-1.0]), ("torque_limits", [1.0, 2.0]),
     ("joint_mapping", [0, 1, 3]), ("joint_mapping", [0, 1, 1]), ("wheel_indices", [3])],
)  # fmt: skip
def test_rl_sar_lists_that_do_not_fit_are_refused_by_name(
    key: str, value: list[Any], tmp_path: Path
) -> None:
    path = _write(tmp_path / "config.yaml", {"robot/cfg": {**BASE, **CONFIG, key: value}})
    with pytest.raises(Refusal, match=rf"config\.yaml: {key}: expected"):
        draft_rl_sar(path, facts(inputs={"obs": [1, 15]}))


def test_formats_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "robot" / "cfg"
    _rl_sar(tmp_path)
    (folder / "other.yaml").write_text("unrelated: true\n")
    read, model = find_reader(folder)
    assert model is None
    assert read(facts()).dialect == "rl_sar"
    _io(folder)
    with pytest.raises(Refusal, match="files of one format"):
        find_reader(folder)
    assert find_reader(folder / "IO_descriptors.yaml")[0](facts()).dialect.startswith("Isaac")
    with pytest.raises(Refusal, match="got something else"):
        find_reader(folder / "other.yaml")
    with pytest.raises(Refusal, match="no such file"):
        find_reader(folder / "absent.yaml")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert find_reader(empty)[0] is draft_model
    with pytest.raises(Refusal, match=r"an \.onnx model, got none"):
        model_in(empty)
    for name in ("one.onnx", "two.onnx"):
        (empty / name).touch()
    with pytest.raises(Refusal, match="--model"):
        model_in(empty)
