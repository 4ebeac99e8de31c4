"""Drafts from metadata of ONNX models, CSV and JSON: unknown values become a TODO."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from foreign_files import CSV
from import_rig import facts, filled, unknown

from policy_runner.core.errors import Refusal
from policy_runner.formats.detect import draft_model
from policy_runner.formats.onnx_metadata import nested, numbers, words


def test_numbers_of_metadata_are_read_in_both_styles() -> None:
    assert numbers("5.000,-0.312") == numbers("[5.0, -0.312]") == [5.0, -0.312]
    assert numbers("0.25") == [0.25]
    assert words('["a", "b"]') == words("a, b") == ["a", "b"]
    assert nested("1.000,0.500;0.250") == [1.0, [0.5, 0.25]]
    infinity = float("inf")
    wanted = [[-infinity, infinity], [-100.0, 100.0]]
    assert nested("-inf;inf,-100.000;100.000") == wanted
    assert nested("[-inf, inf],[-100, 100]") == wanted
    assert nested("[[-1, 1], [0, 2]]") == [[-1.0, 1.0], [0.0, 2.0]]
    assert nested("[0.5, 1]") == [0.5, 1.0]
    with pytest.raises(ValueError, match="could not convert"):
        nested("1.0,__import__('os')")
    with pytest.raises(ValueError, match="not a list of lists"):
        nested("[1, 2], os.system")


def test_csv_metadata_without_scales_asks_for_each(tmp_path: Path) -> None:
    draft = draft_model(facts(CSV))
    assert unknown(draft) == [
        "control_dt",
        *(f"observation[0].terms[{k}].scale" for k in (0, 2, 3, 4, 5)),
        "observation[0].normalization",
        "action[0].groups[0].relative_to",
    ]
    assert any("3 decimals" in note for note in draft.notes)
    scales = {f"observation__0__terms__{k}__scale": 1.0 for k in (0, 2, 3, 4, 5)}
    spec = filled(
        draft, tmp_path, control_dt=0.02, observation__0__normalization="in_model",
        action__0__groups__0__relative_to="default_joint_pos", **scales,
    )  # fmt: skip
    assert spec.name == "run7"
    assert spec.stiffness == [40.179, 99.098]
    assert spec.action[0].groups[0].scale == [0.548, 0.351]
    assert spec.last_action == "raw"


def test_csv_metadata_with_scales_clips_and_histories_is_taken_over() -> None:
    draft = draft_model(facts({
        **CSV,
        "observation_terms_scale": "1.000,1.000,2.000;2.000;0.500,1.000,0.050,1.000",
        "observation_terms_clip": "-inf;inf,-inf;inf,-1.000;1.000,-inf;inf,"
        "-100.000;100.000,-inf;inf",
        "observation_terms_history_length": "3.000,0.000,0.000,0.000,1.000,0.000",
    }))  # fmt: skip
    assert unknown(draft) == [
        "control_dt", "observation[0].normalization", "action[0].groups[0].relative_to"
    ]  # fmt: skip
    terms = draft.spec["observation"][0]["terms"]
    assert terms[2]["scale"] == [2.0, 2.0, 0.5]
    assert terms[2]["clip"] == [-1.0, 1.0]
    assert terms[4]["scale"] == 0.05
    assert terms[4]["clip"] == [-100.0, 100.0]
    assert "scale" not in terms[0]
    history = draft.spec["observation"][0]["history"]
    assert history["length"]["base_ang_vel"] == 3
    assert history["length"]["joint_vel"] == 1
    assert (history["stack"], history["order"], history["fill"]) == (
        "term", "oldest_first", "repeat"
    )  # fmt: skip


def test_the_same_in_json_is_the_same() -> None:
    as_json = {
        key: value if key in ("run_path",) else json.dumps(
            numbers(value) if key not in ("joint_names", "command_names", "observation_names")
            else words(value)
        )
        for key, value in CSV.items()
    }  # fmt: skip
    assert draft_model(facts(as_json)).spec == draft_model(facts(CSV)).spec


def test_other_names_of_the_same_keys_are_known() -> None:
    draft = draft_model(
        facts({
            "joint_names": '["hip", "knee"]', "kp": "[20.0, 40.5]", "kd": "[1, 2]",
            "default_joint_pos_nominal": "[0.1, -0.2]", "action_scale": "0.25",
            "observation_names": '["base_ang_vel", "joint_pos"]',
            "observation_history_lengths": '{"base_ang_vel": 5, "joint_pos": 1}',
        })
    )  # fmt: skip
    spec = draft.spec
    assert (spec["stiffness"], spec["damping"]) == ([20.0, 40.5], [1.0, 2.0])
    assert spec["default_joint_pos"] == [0.1, -0.2]
    assert spec["action"][0]["groups"][0]["scale"] == 0.25
    assert spec["observation"][0]["history"]["length"] == {"base_ang_vel": 5, "joint_pos": 1}


def test_a_history_that_is_not_flattened_is_asked_for() -> None:
    metadata = {
        **CSV,
        "observation_terms_history_length": "3.000,0.000,0.000,0.000,0.000,0.000",
        "observation_terms_flatten_history_dim": "0.000,1.000,1.000,1.000,1.000,0.000",
    }
    draft = draft_model(facts(metadata))
    assert "[3, size] is kept" in draft.spec["observation"][0]["terms"][0]
    assert "observation[0].terms[5]" not in unknown(draft)


def test_values_that_cannot_be_read_are_refused_by_name() -> None:
    for key, value in (("joint_stiffness", "a,b"), ("observation_terms_scale", "1.0,2.0")):
        with pytest.raises(Refusal, match=r"policy\.onnx: metadata: expected values of its own"):
            draft_model(facts({**CSV, key: value}))


def test_a_motion_model_asks_for_its_reference_and_counts_its_steps() -> None:
    draft = draft_model(
        facts(
            {**CSV, "command_names": "motion", "anchor_body_name": "torso_link",
             "observation_names": "command,motion_anchor_ori_b,actions"},
            {"obs": [1, 12], "time_step": [1, 1]},
            {"actions": [1, 2], "joint_pos": [1, 2], "body_quat_w": [1, 14, 4]},
        )
    )  # fmt: skip
    assert {"motions.reference.file", "motions.reference.end"} <= set(unknown(draft))
    command, orientation, _ = draft.spec["observation"][0]["terms"]
    assert command["term"] == "motion"
    assert command["values"] == ["joint_position", "joint_velocity"]
    assert orientation["body"] == "torso_link"
    assert orientation["layout"] == "rows"
    assert "observation[0].terms[1].align" in unknown(draft)
    assert draft.spec["observation"][1]["whole"]["term"] == "step_counter"
    assert draft.spec["ignored_outputs"] == ["joint_pos", "body_quat_w"]


def test_gains_that_the_exporter_does_not_know_are_pointed_at() -> None:
    draft = draft_model(facts({**CSV, "joint_stiffness": "1.000,1.000",
                               "joint_damping": "-0.000,0.000"}))  # fmt: skip
    assert draft.spec["damping"] == [0.0, 0.0]
    assert len([note for note in draft.notes if "exactly 1 or 0" in note]) == 2
    shorter = draft_model(facts({**CSV, "joint_stiffness": "40.179"}))
    assert "stiffness" not in shorter.spec
    assert any("those with an actuator" in note for note in shorter.notes)


def test_a_subset_of_joints_in_the_action_is_asked_for() -> None:
    draft = draft_model(facts({**CSV, "joint_names": "hip,knee,passive"}))
    assert "action[0].groups[0].joints" in unknown(draft)


def test_a_model_without_metadata_asks_for_everything_and_pairs_its_state() -> None:
    draft = draft_model(
        facts(
            inputs={"obs": [1, 4], "h_in": [1, 1, 8], "c_in": [1, 1, 8]},
            outputs={"actions": [1, 2], "h_out": [1, 1, 8], "c_out": [1, 1, 8], "value": [1, 1]},
        )
    )
    assert draft.spec["state"] == [
        {"input": "h_in", "output": "h_out"}, {"input": "c_in", "output": "c_out"}
    ]  # fmt: skip
    assert "value float32 [1, 1]" in draft.spec["ignored_outputs"]
    assert "value float32 [1, 1]" in draft.spec["action"]
    assert len(draft.unknown) == 8
    odd = draft_model(facts({"something": "else"}))
    assert any("something" in note for note in odd.notes)


def test_of_several_outputs_the_first_is_not_the_action() -> None:
    outputs = {"obs_normalized": [1, 4], "actions": [1, 2]}
    draft = draft_model(facts(inputs={"obs": [1, 4]}, outputs=outputs))
    assert "obs_normalized float32 [1, 4], actions float32 [1, 2]" in draft.spec["action"]
    assert {"action", "ignored_outputs"} <= set(unknown(draft))
    one = draft_model(facts(inputs={"obs": [1, 4]}, outputs={"actions": [1, 2]}))
    assert one.spec["action"][0]["tensor"] == "actions"


def test_states_are_paired_by_the_graph_before_their_names() -> None:
    tensors = {"obs": [1, 4], "h_in": [1, 1, 8], "c_in": [1, 1, 8], "m.in": [1, 2], "h0": [1, 3]}
    outputs = {"act": [1, 2], "h_out": [1, 1, 8], "new": [1, 1, 8], "m.out": [1, 2], "hn": [1, 3]}
    model = replace(facts(inputs=tensors, outputs=outputs), recurrent=(("c_in", "new"),))
    assert draft_model(model).spec["state"] == [
        {"input": "h_in", "output": "h_out"}, {"input": "c_in", "output": "new"},
        {"input": "m.in", "output": "m.out"}, {"input": "h0", "output": "hn"},
    ]  # fmt: skip


def test_a_counter_is_imported_as_such() -> None:
    draft = draft_model(facts(inputs={"obs": [1, 4], "time_step": [1, 1]}))
    assert draft.spec["observation"][1]["whole"]["term"] == "step_counter"


def test_a_model_in_no_folder_has_a_name() -> None:
    model = replace(facts({"exploy_version": "1", "model_source": '""'}), path=Path("walk.onnx"))
    assert draft_model(model).spec["name"]
    assert draft_model(replace(model, metadata={})).spec["name"]
