"""Drafts of the files of deployment programs: what they say is taken, the rest is a TODO."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cli_rig
import pytest
import yaml
from deployment_files import DEPLOYMENTS
from import_rig import facts, filled, unknown

from policy_runner.core.errors import Refusal
from policy_runner.formats.detect import find_reader
from policy_runner.formats.draft import Draft


def _draft(name: str, tmp_path: Path, change: Any = None, model: Any = None) -> Draft:
    content = copy.deepcopy(DEPLOYMENTS[name])
    if change:
        change(content)
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return find_reader(path)[0](model or facts())


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_each_format_is_recognized_alone_in_its_folder(name: str, tmp_path: Path) -> None:
    draft = _draft(name, tmp_path)
    assert name.split("_")[0] in draft.dialect.lower()
    assert find_reader(tmp_path)[0](facts()).dialect == draft.dialect


def test_legged_ros2_is_complete(tmp_path: Path) -> None:
    draft = _draft("legged_ros2", tmp_path)
    assert unknown(draft) == []
    spec = filled(draft, tmp_path)
    assert spec.control_dt == 0.02
    assert (spec.stiffness, spec.default_joint_pos) == ([25.0, 30.0], [0.1, -0.2])
    terms: Any = spec.observation[0].terms
    assert (terms[0].clip, terms[0].scale) == (None, 0.2)  # [0.0] is no clip
    assert (terms[1].clip, terms[1].range[0]) == ([-1.0, 1.0], [-0.5, 1.0])
    assert (terms[3].term, terms[3].period, terms[3].start) == ("phase_clock", 0.6, 0.0)
    history: Any = spec.observation[0].history
    assert list(history.length.values()) == [3, 1, 3, 1]
    group = spec.action[0].groups[0]
    assert (group.scale, group.clip) == ([0.25, 0.5], [[-1.0, 1.0], [None, None]])


def test_legged_ros2_asks_for_ranges_and_refuses_two_controllers(tmp_path: Path) -> None:
    def without(content: Any) -> None:
        content["rl_controller"]["ros__parameters"].pop("range_lin_vel_x")

    assert unknown(_draft("legged_ros2", tmp_path, without)) == ["observation[0].terms[1].range"]
    with pytest.raises(Refusal, match="one controller with obs_names, got rl_controller, other"):
        _draft("legged_ros2", tmp_path, lambda c: c.update(other=c["rl_controller"]))
    with pytest.raises(Refusal, match=r"action_cfg\.knee"):
        _draft(
            "legged_ros2", tmp_path,
            lambda c: c["rl_controller"]["ros__parameters"]["action_cfg"].pop("knee"),
        )  # fmt: skip


def test_legged_gym_lacks_only_the_joints(tmp_path: Path) -> None:
    draft = _draft("legged_gym", tmp_path)
    assert unknown(draft) == ["joint_names"]
    assert "[1, 0]" in draft.spec["joint_names"]
    names = ["a", "b"]
    spec = filled(draft, tmp_path, joint_names=names, action__0__groups__0__joints=names)
    terms: Any = spec.observation[0].terms
    assert [one.term for one in terms] == [
        "field", "projected_gravity", "velocity_command", "joint_position", "joint_velocity",
        "last_action", "phase_clock",
    ]  # fmt: skip
    assert (terms[2].range[2], terms[2].scale) == ([-1.57, 1.57], [2.0, 2.0, 0.25])
    assert terms[6].start == pytest.approx(0.025)  # one step of 0.02 s in 0.8 s
    assert spec.stiffness == [100.0, 150.0]


def test_legged_gym_of_the_simulator_and_with_other_sizes(tmp_path: Path) -> None:
    def change(content: Any) -> None:
        content.pop("control_dt")
        content.update(simulation_dt=0.002, control_decimation=10, num_obs=15, imu_type="torso")

    draft = _draft("legged_gym", tmp_path, change)
    assert (draft.spec["control_dt"], len(draft.spec["observation"][0]["terms"])) == (0.02, 6)
    assert any("turns the IMU by the waist" in note for note in draft.notes)
    more = _draft("legged_gym", tmp_path, lambda c: c.update(num_obs=50))
    assert "35 more numbers" in more.spec["observation"][0]["terms"][6]
    with pytest.raises(Refusal, match="kps has 1 numbers for 2 joints"):
        _draft("legged_gym", tmp_path, lambda c: c.update(kps=[1.0]))


def test_legged_gym_finds_a_recurrent_state(tmp_path: Path) -> None:
    model = facts(inputs={"obs": [1, 17], "h_in": [1, 1, 4]},
                  outputs={"h_out": [1, 1, 4], "actions": [1, 2]})  # fmt: skip
    draft = _draft("legged_gym", tmp_path, model=model)
    assert draft.spec["state"] == [{"input": "h_in", "output": "h_out"}]
    assert draft.spec["action"][0]["tensor"] == "actions"


def test_berkeley_is_complete(tmp_path: Path) -> None:
    draft = _draft("berkeley", tmp_path)
    assert unknown(draft) == []
    spec = filled(draft, tmp_path)
    assert (spec.control_dt, spec.joint_names) == (0.04, ["hip", "knee"])
    assert (spec.stiffness, spec.damping) == ([20.0, 21.0], [2.0, 2.0])
    history: Any = spec.observation[0].history
    assert (history.stack, history.length, history.fill) == ("frame", 5, "zeros")
    assert spec.action[0].groups[0].clip_raw == [-10.0, 9.0]
    assert spec.last_action == "clipped"
    last = _draft("berkeley", tmp_path, lambda c: c.pop("action_indices"))
    assert last.spec["joint_names"] == ["hip", "knee"]  # its code takes the last joints
    for ids, said in (([1, 3], "is 3, and there are 3"), ([1], "1 numbers for 2")):
        with pytest.raises(Refusal, match=said):
            _draft("berkeley", tmp_path, lambda c, ids=ids: c.update(action_indices=ids))


def test_sim2real_is_complete(tmp_path: Path) -> None:
    names = {"in_keys": ["policy"], "out_keys": ["policy", "loc", "action"]}
    (tmp_path / "sim2real.json").write_text(json.dumps(names))
    model = facts(inputs={"x": [1, 23]}, outputs={"a": [1, 23], "b": [1, 2], "c": [1, 2]})
    draft = _draft("sim2real", tmp_path, model=model)
    assert unknown(draft) == []
    spec = filled(draft, tmp_path)
    assert spec.default_joint_pos == [-0.15, -0.15, 0.0]
    assert (spec.stiffness, spec.damping) == ([150.0, 150.0, 4.0], [2.0, 2.0, 2.0])
    history: Any = spec.observation[0].history
    assert history.lags == {"joint_pos_history": [0, 2, 4], "joint_vel_multistep": [0, 1]}
    assert (history.order, history.fill) == ("newest_first", "zeros")
    terms: Any = spec.observation[0].terms
    assert terms[2].relative_to == "zero"
    assert (spec.action[0].tensor, spec.action[0].groups[0].joints) == ("c", ["l_hip", "r_hip"])
    assert spec.ignored_outputs == ["a", "b"]
    assert any("not by the policy: wrist" in note for note in draft.notes)


def test_sim2real_terms_that_the_spec_cannot_say_are_asked_for(tmp_path: Path) -> None:
    def change(content: Any) -> None:
        policy = content["observation"]["policy"]
        policy["prev_actions"]["steps"] = 3
        policy["joint_pos_history"]["history_steps"] = [4, 0]
        policy["ref_motion_phase"] = {"motion_duration_second": 12.0}

    model = facts(inputs={"policy": [1, 9], "other": [1, 2]}, outputs={"a": [1, 2], "b": [1, 2]})
    draft = _draft("sim2real", tmp_path, change, model)
    assert unknown(draft) == [
        *(f"observation[0].terms[{k}]" for k in (2, 4, 5)), "observation[1].terms", "action",
    ]  # fmt: skip
    with pytest.raises(Refusal, match="2 patterns match l_hip"):
        _draft("sim2real", tmp_path, lambda c: c.update(joint_kp={".*": 1.0, "l_.*": 2.0}))


def test_limx_asks_for_its_encoder_and_its_gait(tmp_path: Path) -> None:
    model = replace(facts(), path=Path("policy/isaaclab/policy.onnx"))
    draft = _draft("limx", tmp_path, model=model)
    assert draft.spec["joint_names"] == ["a_L", "a_R", "b_L", "b_R"]
    assert unknown(draft) == [
        "control_dt", "observation[0].terms[0]", "observation[0].terms[6]"
    ]  # fmt: skip
    terms = draft.spec["observation"][0]["terms"]
    assert (terms[1]["scale"], terms[1]["clip"], terms[1]["order"]) == (
        0.25, [-100.0, 100.0], "scale_clip"
    )  # fmt: skip
    group = draft.spec["action"][0]["groups"][0]
    assert group["limit_torque"] == {"limit": 80.0, "every": "tick"}
    assert draft.spec["last_action"] == "clipped"
    both = _draft("limx", tmp_path)
    assert "joint_names" in unknown(both)  # gym or lab: nothing says it

    def wheels(content: Any) -> None:
        content["PointfootCfg"]["control"]["wheel_joint_damping"] = 0.8
        content["PointfootCfg"]["control"]["wheel_joint_torque_limit"] = 40
        content["PointfootCfg"]["init_state"]["default_joint_angle"]["wheel_L"] = 0.0

    draft = _draft("limx", tmp_path, wheels, model)
    places = ("damping", "action[0].groups[0].kind", "action[0].groups[0].limit_torque.limit")
    assert set(places) <= set(unknown(draft))


def test_limx_with_gains_by_kind_of_joint_asks_for_them(tmp_path: Path) -> None:
    """The files of tron1-rl-deploy-arm: gains and limits by kind, joints in init_state."""

    def arm(content: Any) -> None:
        given = content["PointfootCfg"]
        for key in ("stiffness", "damping"):
            given["control"][f"leg_joint_{key}"] = given["control"].pop(key)
        given["control"]["leg_joint_torque_limit"] = given["control"].pop("user_torque_limit")
        names = given.pop("joint_names_gym")
        given.pop("joint_names_lab")
        given["init_state"]["joint_names"] = names

    draft = _draft("limx", tmp_path, arm)
    assert draft.spec["joint_names"] == ["a_L", "b_L", "a_R", "b_R"]
    assert {"stiffness", "damping", "action[0].groups[0].limit_torque"} <= set(unknown(draft))
    assert "'leg_joint_stiffness': 42.0" in draft.spec["stiffness"]
    with pytest.raises(Refusal, match=r"control.stiffness: expected a number, got nothing"):
        _draft("limx", tmp_path, lambda c: c["PointfootCfg"]["control"].pop("stiffness"))


def test_limx_tron2_is_complete_except_for_its_period(tmp_path: Path) -> None:
    draft = _draft("limx_tron2", tmp_path)
    assert unknown(draft) == ["control_dt", "models.encoder.file"]
    (tmp_path / "encoder.onnx").write_bytes(b"")
    draft = _draft("limx_tron2", tmp_path)
    assert unknown(draft) == ["control_dt"]
    draft.spec["control_dt"] = 0.02
    spec = filled(draft, tmp_path)
    assert (spec.stiffness, spec.damping) == ([160.0, 53.0, 0.0], [10.0, 3.0, 0.6])
    assert spec.effort_limit == [140.0, 40.0, 22.0]
    terms: Any = spec.observation[0].terms
    names = ["ang_vel", "projected_gravity", "dof_pos", "dof_vel", "last_action", "gait"]
    assert [one.name for one in terms] == [None, *names, "gait_command", "commands"]
    assert (terms[1].scale, terms[4].scale, terms[1].order) == (0.25, 0.05, "scale_clip")
    assert (terms[3].joints, terms[4].joints) == (["yaw_L", "hip"], ["yaw_L", "hip", "wheel_L"])
    assert terms[6].period == 1.25
    assert terms[7].value == [0.8, 0.5, 0.5, 0.2]
    assert terms[8].range == [[-0.7, 0.7], [0.0, 0.0], [-1.0, 1.0]]
    encoder: Any = spec.models["encoder"].observation[0]
    assert [one.name for one in encoder.terms] == [*names, "gait_command"]
    assert (encoder.history.length, encoder.history.fill) == (10, "repeat")
    legs, wheel = spec.action[0].groups
    assert (legs.kind, legs.joints, legs.relative_to) == (
        "position", ["hip", "yaw_L"], "default_joint_pos"
    )  # fmt: skip
    assert (wheel.kind, wheel.joints, wheel.scale) == ("velocity", ["wheel_L"], 2.0)

    def standing(content: Any) -> None:
        content["Tron2Cfg"]["gait"]["enabled"] = False

    assert len(_draft("limx_tron2", tmp_path, standing).spec["observation"][0]["terms"]) == 7
    with pytest.raises(Refusal, match=r"Tron2Cfg.control.joint_control_modes: expected 3 modes"):
        _draft("limx_tron2", tmp_path, lambda c: c["Tron2Cfg"]["control"].update(
            joint_control_modes=["position"]))  # fmt: skip


def test_a_yaml_of_an_unknown_format_next_to_the_model_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from policy_runner.cli.main import main

    cli_rig.write_policy(tmp_path / "given")
    (tmp_path / "given" / "policy.yaml").unlink()
    (tmp_path / "given" / "config.yaml").write_text("policy: {stiffness: [1, 2]}\n")
    (tmp_path / "given" / "tags.yaml").write_text("a: !!python/object:x.Y {}\n")
    assert main(["import", str(tmp_path / "given"), "-o", str(tmp_path / "new")]) == 0
    said = capsys.readouterr().out
    assert "config.yaml is in no format that is known here: what it says is not in this" in said
    assert "tags.yaml is in no format" in said


def test_a_leapp_bundle_is_complete(tmp_path: Path) -> None:
    draft = _draft("leapp", tmp_path)
    assert unknown(draft) == []
    spec = filled(draft, tmp_path)
    assert (spec.control_dt, spec.joint_names) == (0.02, ["hip", "knee"])
    terms: list[Any] = [one.whole for one in spec.observation]
    assert terms[0].joints == ["hip", "knee"]
    assert terms[1].layout == "wxyz"
    assert terms[2].axes == ["linear.x", "linear.y", "angular.z"]
    assert [(one.input, one.output) for one in spec.state] == [("h", "h_next")]
    assert spec.action[0].groups[0].joints == ["knee", "hip"]


def test_a_leapp_bundle_with_more_than_the_spec_says(tmp_path: Path) -> None:
    def change(content: Any) -> None:
        walk = content["models"]["walk"]
        walk["inputs"][0]["history_length"] = 3
        walk["inputs"][1]["kind"] = "state/camera/image"
        walk["outputs"].append({"name": "kp", "kind": "kp", "shape": [1, 2]})
        pipeline = content["pipeline"]
        pipeline["feedback_flow"] = pipeline.pop("feedback_connections")
        pipeline["initial_values"] = "walk_initial_values.safetensors"
        pipeline.pop("configs")

    draft = _draft("leapp", tmp_path, change)
    assert unknown(draft) == [
        "control_dt", "observation[0].whole", "observation[1].whole", "ignored_outputs"
    ]  # fmt: skip
    assert draft.spec["state"][0]["initial"] == {
        "file": "walk_initial_values.safetensors", "key": "walk/h"
    }  # fmt: skip
    with pytest.raises(Refusal, match="expected one model, got walk, second"):
        _draft("leapp", tmp_path, lambda c: c["models"].update(second=c["models"]["walk"]))
