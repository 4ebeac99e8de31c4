"""Drafts of holosoma's and exploy's models, whose metadata has JSON values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from import_rig import facts, filled, unknown

from policy_runner.core.errors import Refusal
from policy_runner.formats.detect import draft_model

URDF = '<robot><joint name="a" type="revolute"/><joint name="f" type="fixed"/></robot>'


def test_holosoma_gives_joints_and_gains() -> None:
    draft = draft_model(
        facts({"dof_names": '["hip", "knee"]', "kp": "[20.5, 40]", "kd": "[1, 2]",
               "robot_urdf": URDF, "command_ranges": '{"lin_vel_x": [-1, 1]}'})
    )  # fmt: skip
    assert draft.spec["joint_names"] == ["hip", "knee"]
    assert draft.spec["stiffness"] == [20.5, 40.0]
    assert draft.spec["action"][0]["groups"][0]["joints"] == ["hip", "knee"]
    assert any("command_ranges" in note and "lin_vel_x" in note for note in draft.notes)
    assert not any("URDF" in note for note in draft.notes)


def test_holosoma_without_dof_names_shows_those_of_the_urdf() -> None:
    draft = draft_model(facts({"kp": "[20.5, 40]", "kd": "[1, 2]", "robot_urdf": URDF}))
    assert draft.spec["stiffness"] == [20.5, 40.0]
    assert "joint_names" in unknown(draft)
    assert any(note.endswith("URDF: a") for note in draft.notes)
    with pytest.raises(Refusal, match="metadata kp, kd"):
        draft_model(facts({"kp": "{}", "kd": '"__import__"'}))


def test_holosoma_gains_and_outputs_of_another_length_are_asked_for() -> None:
    draft = draft_model(facts({"dof_names": '["a", "b", "c"]', "kp": "[1, 2]", "kd": "[1, 2, 3]"}))
    assert {"stiffness", "action[0].groups[0].joints"} <= set(unknown(draft))
    assert draft.spec["damping"] == [1.0, 2.0, 3.0]
    assert "[1.0, 2.0]" in draft.spec["stiffness"]


# As exploy's exporter for Isaac Lab names its tensors and groups of tensors.
EXPLOY = {
    "exploy_version": '"1.0"', "model_source": '"walk"', "sim_dt": "0.005", "decimation": "4",
    "base_names": '{"go": "base"}',
    "obj.go.joints": json.dumps({"joint_names": ["knee", "hip", "tail"]}),
    "cmd.se2_velocity.base_velocity": json.dumps(
        {"ranges": {"lin_vel_x": [-1, 1], "lin_vel_y": [-0.5, 0.5], "ang_vel_z": [-2, 2]}}
    ),
    "cmd.joint_pos.arm": json.dumps({"joint_names": ["tail"]}),
    "output.joint_targets.legs": json.dumps(
        {"names": ["hip", "knee"], "stiffness": [1.5, 2.5], "damping": [0, 1]}
    ),
}  # fmt: skip
INPUTS = {
    "obj.go.joints.pos": [1, 3], "obj.go.joints.vel": [1, 3], "cmd.joint_pos.arm": [1, 1],
    "obj.go.base.w_Q_b": [1, 4], "obj.go.base.ang_vel_b_rt_w_in_b": [1, 3],
    "obj.go.base.lin_vel_b_rt_w_in_b": [1, 3], "sensor.imu.torso.ang_vel_b_rt_w_in_b": [1, 3],
    "cmd.se2_velocity.base_velocity": [1, 3], "memory.actions.in": [1, 2],
    "memory.legs.processed_actions.in": [1, 2], "ctx.step_count": [1],
}  # fmt: skip
OUTPUTS = {
    "output.joint_targets.legs.pos": [1, 2], "output.joint_targets.legs.vel": [1, 2],
    "actions": [1, 2], "memory.legs.processed_actions.out": [1, 2], "memory.actions.out": [1, 2],
}  # fmt: skip


def test_exploy_takes_raw_signals(tmp_path: Path) -> None:
    draft = draft_model(facts(EXPLOY, INPUTS, OUTPUTS))
    assert unknown(draft) == []
    spec = filled(draft, tmp_path)
    assert (spec.name, spec.control_dt) == ("walk", 0.005)
    assert spec.joint_names == ["knee", "hip", "tail"]  # all of them, also those without a target
    terms: dict[str, Any] = {str(one.tensor): one.whole for one in spec.observation}
    assert terms["obj.go.joints.vel"].joints == ["knee", "hip", "tail"]
    assert terms["obj.go.joints.pos"].input == "joint_states"
    assert terms["cmd.joint_pos.arm"].input == "joint_command"  # commanded, not measured
    assert spec.inputs["joint_command"].topic == "cmd/joint_pos/arm"
    assert terms["obj.go.base.w_Q_b"].layout == "wxyz"
    assert terms["obj.go.base.ang_vel_b_rt_w_in_b"].input == "imu"
    assert terms["sensor.imu.torso.ang_vel_b_rt_w_in_b"].input == "imu_torso"
    assert terms["obj.go.base.lin_vel_b_rt_w_in_b"].input == "odom"
    assert terms["cmd.se2_velocity.base_velocity"].range == [[-1, 1], [-0.5, 0.5], [-2, 2]]
    assert terms["ctx.step_count"].term == "step_counter"
    assert [(one.input, one.output) for one in spec.state] == [
        ("memory.actions.in", "memory.actions.out"),
        ("memory.legs.processed_actions.in", "memory.legs.processed_actions.out"),
    ]
    assert [group.kind for one in spec.action for group in one.groups] == ["position", "velocity"]
    assert spec.action[0].groups[0].joints == ["hip", "knee"]
    assert spec.ignored_outputs == ["actions"]
    assert any("stiffness is known for some joints only" in note for note in draft.notes)


def test_exploy_is_known_by_its_tensors_and_without_a_period() -> None:
    draft = draft_model(facts({}, INPUTS, OUTPUTS))
    assert draft.dialect.endswith("exploy")
    assert "control_dt" in unknown(draft)
    assert draft.spec["name"]
    rate = {"exploy_version": "1", "update_rate": "200.0"}
    assert draft_model(facts(rate, INPUTS, OUTPUTS)).spec["control_dt"] == 0.005


def test_what_no_usual_message_has_is_asked_for_with_its_metadata() -> None:
    scan = json.dumps({"pattern_type": "grid_pattern", "size_x": 1.6})
    metadata = {**EXPLOY, "sensor.ray_caster.front": scan}
    names = ("sensor.ray_caster.front.height", "obj.box.box.w_Q_b", "cmd.boolean.go", "else")
    inputs = {name: [1, 4] for name in names}
    draft = draft_model(facts(metadata, inputs, {"output.other": [1, 2]}))
    asked = [one["whole"] for one in draft.spec["observation"]]
    assert all(one.startswith("TODO: the one term that gives") for one in asked)
    assert "'size_x': 1.6" in asked[0]
    assert "action[0].groups[0].kind" in unknown(draft)
    with pytest.raises(Refusal, match="values of exploy"):
        draft_model(facts({**EXPLOY, "sim_dt": "fast"}, INPUTS, OUTPUTS))


def test_a_base_velocity_is_a_twist() -> None:
    draft = draft_model(facts(EXPLOY, INPUTS, {"output.se2_velocity.base": [1, 3]}))
    assert draft.spec["action"][0]["groups"] == [
        {"kind": "twist", "axes": ["linear.x", "linear.y", "angular.z"]}
    ]
