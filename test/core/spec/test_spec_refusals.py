"""Every bad spec is refused with one sentence: file, key, expected, got, did you mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from core_rig import refused, spec_content, term, write_spec

from policy_runner.core.spec import read_spec

Edit = Callable[[dict[str, Any]], Any]


def _term(content: dict[str, Any]) -> dict[str, Any]:
    return content["observation"][0]["terms"][0]


def _tensor(content: dict[str, Any]) -> dict[str, Any]:
    return content["observation"][0]


def _group(content: dict[str, Any]) -> dict[str, Any]:
    return content["action"][0]["groups"][0]


TERM = "observation[0].terms[0]"
NORM = {"preset": "sb3", "statistics": {"mean": [0, 0], "var": [1, 1]}}

ONE_MISTAKE: dict[str, tuple[Edit, str]] = {
    "missing key": (
        lambda c: c.pop("control_dt"),
        "control_dt: expected this key, got nothing",
    ),
    "a limit of an unknown joint": (
        lambda c: c.update(limits={"aa": {"upper": 1}, "a": {"lower": -1}}),
        "limits: expected a name or pattern of a, b, got 'aa'; did you mean 'a'?",
    ),
    "a limit upside down": (
        lambda c: c.update(limits={"a": {"lower": 1, "upper": -1}}),
        "limits.a.lower: expected at most upper (-1), got 1",
    ),
    "a rate that stands still": (
        lambda c: c.update(limits={"a": {"max_rate": 0}}),
        "limits.a.max_rate: expected greater than 0, got 0",
    ),
    "missing nested key": (
        lambda c: _term(c).pop("input"),
        f"{TERM}.input: expected this key, got nothing",
    ),
    "unknown key": (
        lambda c: c.update(joint_name=["a"]),
        "joint_name: expected a known key, got 'joint_name'; did you mean 'joint_names'?",
    ),
    "unknown key in a term": (
        lambda c: _term(c).update(scal=1),
        f"{TERM}.scal: expected a known key, got 'scal'; did you mean 'scale'?",
    ),
    "unknown key like nothing": (
        lambda c: c.update(zzzzzz=1),
        "zzzzzz: expected a known key, got 'zzzzzz'",
    ),
    "a key of another place": (
        lambda c: _group(c).update(order="clip_scale"),
        "action[0].groups[0].order: expected a known key, got 'order'; "
        "`order` is a key of a term or observation[].history or observation[].history.blocks[]",
    ),
    "a key of another place at the top level": (
        lambda c: c.update(order="clip_scale"),
        "order: expected a known key, got 'order'; "
        "`order` is a key of a term or observation[].history or observation[].history.blocks[]",
    ),
    "a key of the top level in an input": (
        lambda c: c["inputs"]["joints"].update(joint_names=["a"]),
        "inputs.joints.joint_names: expected a known key, got 'joint_names'; "
        "`joint_names` is a key of the top level or motions.<name>",
    ),
    "a key of another kind of term": (
        lambda c: _term(c).update(period=1.0),
        f"{TERM}.period: expected a known key, got 'period'; "
        "`period` is a key of the term phase_clock",
    ),
    "a key of many terms": (
        lambda c: c.update(field="orientation"),
        "field: expected a known key, got 'field'; `field` is a key of the term field or the "
        "term projected_gravity or the term euler_angles, among others",
    ),
    "a key of another place, one letter off a key of this one": (
        lambda c: c.update(input={}),
        "input: expected a known key, got 'input'; did you mean 'inputs'?",
    ),
    "a key of the other of two alternatives": (
        lambda c: _tensor(c).update(normalization={"per_term": {"a": "none"}, "clip": [0, 1]}),
        "observation[0].normalization.per_term: expected a known key, got 'per_term'",
    ),
    "unknown kind of term": (
        lambda c: _term(c).update(term="joint_velocty"),
        f"{TERM}.term: expected one of field, velocity_command, integrated_command, "
        "joy_command, projected_gravity, "
        "euler_angles, heading, rotation_6d, quaternion, pose_in_frame, "
        "relative_rotation, position_difference, joint_position, "
        "joint_velocity, joint_effort, last_action, constant, phase_clock, step_counter, "
        "first_step, motion, motion_orientation, image, occupancy_grid, text, custom, "
        "model_output, "
        "got 'joint_velocty'; "
        "did you mean 'joint_velocity'?",
    ),
    "term without a kind": (
        lambda c: _term(c).pop("term"),
        f"{TERM}: expected a mapping with the key `term`, got {{'input': 'joints'}}",
    ),
    "wrong type": (
        lambda c: c.update(control_dt="soon"),
        "control_dt: expected a number, got 'soon'",
    ),
    "zero period": (
        lambda c: c.update(control_dt=0),
        "control_dt: expected greater than 0, got 0",
    ),
    "infinite period": (
        lambda c: c.update(control_dt=float("inf"), name=""),
        "name: expected some text, got ''",
    ),
    "text where a mapping belongs": (
        lambda c: c.update(model="policy.onnx"),
        "model: expected a mapping of keys, got 'policy.onnx'",
    ),
    "no joint names": (
        lambda c: c.update(joint_names=None),
        "joint_names: expected a list, got None",
    ),
    "a number as joint name": (
        lambda c: c.update(joint_names=["a", 2]),
        "joint_names[1]: expected text, got 2",
    ),
    "NaN": (
        lambda c: c.update(stiffness=[1.0, float("nan")]),
        "stiffness[1]: expected a finite number, got nan",
    ),
    "scale of text": (
        lambda c: _term(c).update(scale="x"),
        f"{TERM}.scale: expected a number or a list or a mapping of keys, got 'x'",
    ),
    "text among the scales": (
        lambda c: _term(c).update(scale=[1, "x"]),
        f"{TERM}.scale[1]: expected a number, got 'x'",
    ),
    "clip of three": (
        lambda c: _term(c).update(clip=[1, 2, 3]),
        f"{TERM}.clip: expected a list of at most 2, got [1, 2, 3]",
    ),
    "one of the clips too short": (
        lambda c: _term(c).update(clip=[[0, 1], [0]]),
        f"{TERM}.clip[1]: expected a list of at least 2, got [0]",
    ),
    "no such preset": (
        lambda c: _tensor(c).update(normalization=dict(NORM, preset="sb4")),
        "observation[0].normalization.preset: expected 'sb3', 'rsl_rl', 'rl_games', 'skrl', "
        "'lerobot_mean_std', 'lerobot_min_max', 'lerobot_quantiles', 'lerobot_quantile10', "
        "'lerobot_identity', 'openpi_z' or 'openpi_quantile', got 'sb4'; did you mean 'sb3'?",
    ),
    "no such word for normalization": (
        lambda c: _tensor(c).update(normalization="inmodel"),
        "observation[0].normalization: expected a mapping of keys or 'none' or 'in_model', "
        "got 'inmodel'",
    ),
    "statistics of text": (
        lambda c: _tensor(c).update(normalization=dict(NORM, statistics={"mean": ["x"]})),
        "observation[0].normalization.statistics.mean[0]: expected a number, got 'x'",
    ),
    "scale by joint of text": (
        lambda c: _group(c).update(scale={"a": "x"}),
        "action[0].groups[0].scale.a: expected a number, got 'x'",
    ),
    "no such last action": (
        lambda c: c.update(last_action="clip"),
        "last_action: expected 'raw', 'clipped', 'target' or 'limited', got 'clip'; "
        "did you mean 'clipped'?",
    ),
    "message type without /msg/": (
        lambda c: c["inputs"]["joints"].update(type="sensor_msgs/JointState"),
        r"inputs.joints.type: expected text like ^\w+/msg/\w+$, got 'sensor_msgs/JointState'",
    ),
    "a later version": (
        lambda c: c.update(schema="policy_runner/2"),
        "schema: expected 'policy_runner/1', got 'policy_runner/2'; "
        "did you mean 'policy_runner/1'?",
    ),
    "joint twice": (
        lambda c: c.update(joint_names=["a", "b", "a"]),
        "joint_names: expected every joint once, got 'a' twice",
    ),
    "pose of another length": (
        lambda c: c.update(default_joint_pos=[0.0]),
        "default_joint_pos: expected one number or 2 numbers, got 1",
    ),
    "damping of another length": (
        lambda c: c.update(damping=[0.0, 1.0, 2.0]),
        "damping: expected one number or 2 numbers, got 3",
    ),
    "input tensor twice": (
        lambda c: c.update(observation=c["observation"] * 2),
        "observation: expected every tensor once, got 'obs' twice",
    ),
    "output tensor twice": (
        lambda c: c.update(action=c["action"] * 2),
        "action: expected every tensor once, got 'act' twice",
    ),
    "a term of no joints": (
        lambda c: _term(c).update(joints=[]),
        f"{TERM}.joints: expected a list of at least 1, got []",
    ),
    "a last action of no joints": (
        lambda c: c["observation"][0].update(terms=[term("last_action", joints=[])]),
        f"{TERM}.joints: expected a list of at least 1, got []",
    ),
    "a constant of nothing": (
        lambda c: c["observation"][0].update(terms=[term("constant", value=[])]),
        f"{TERM}.value: expected a list of at least 1, got []",
    ),
    "a command of no axes": (
        lambda c: c["observation"][0].update(
            terms=[term("velocity_command", input="joints", axes=[])]
        ),
        f"{TERM}.axes: expected a list of at least 1, got []",
    ),
    "an axis that a Twist lacks": (
        lambda c: c["observation"][0].update(
            terms=[term("velocity_command", input="joints", axes=["liner.x"])]
        ),
        f"{TERM}.axes[0]: expected 'linear.x', 'linear.y', 'linear.z', 'angular.x', "
        "'angular.y' or 'angular.z', got 'liner.x'; did you mean 'linear.x'?",
    ),
}


@pytest.mark.parametrize("case", ONE_MISTAKE)
def test_one_mistake_is_one_sentence(tmp_path: Path, case: str) -> None:
    edit, sentence = ONE_MISTAKE[case]
    content = spec_content()
    edit(content)
    path = write_spec(tmp_path, content)
    assert refused(read_spec, path) == [f"{path}: {sentence}"]


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    content = spec_content(control_dt=-1, last_acton="raw")
    del content["name"]
    _term(content)["scale"] = ["x"]
    path = write_spec(tmp_path, content)
    keys = [sentence.split(": ")[1] for sentence in refused(read_spec, path)]
    assert sorted(keys) == sorted(["name", "control_dt", f"{TERM}.scale[0]", "last_acton"])


def test_missing_file(tmp_path: Path) -> None:
    assert refused(read_spec, tmp_path / "policy.yaml") == [
        f"{tmp_path / 'policy.yaml'}: expected a policy spec (policy.yaml), got no such file"
    ]


def test_file_outside_the_folder(tmp_path: Path) -> None:
    spec_file = read_spec(write_spec(tmp_path, spec_content()))
    for name in ("../other.npz", "/etc/passwd", "sub/../../other.npz"):
        assert refused(spec_file.next_to, name, "model.file") == [
            f"{tmp_path / 'policy.yaml'}: model.file: expected a file inside the spec's folder, "
            f"got {name}"
        ]
    assert spec_file.next_to("sub/policy.onnx", "model.file") == tmp_path / "sub/policy.onnx"


def test_link_out_of_the_folder_is_outside(tmp_path: Path) -> None:
    spec_file = read_spec(write_spec(tmp_path, spec_content()))
    (tmp_path / "link.npz").symlink_to("/etc/passwd")
    assert len(refused(spec_file.next_to, "link.npz", "key")) == 1
