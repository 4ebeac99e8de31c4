"""A spec that does not fit its model is refused when the pipeline is built, with all problems."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from core_rig import FakeModel, make_rig, refused, spec_content, term

Edit = Callable[[dict[str, Any]], Any]
TERM = "observation[0].terms[0]"


def _tensor(content: dict[str, Any]) -> dict[str, Any]:
    return content["observation"][0]


def _terms(*terms: dict[str, Any], **inputs: str) -> Edit:
    def edit(content: dict[str, Any]) -> None:
        _tensor(content)["terms"] = list(terms)
        for name, kind in inputs.items():
            content["inputs"][name] = {"type": kind, "topic": name}

    return edit


def _group(**keys: Any) -> Edit:
    return lambda c: c["action"][0]["groups"][0].update(keys)


IMU, TWIST = "sensor_msgs/msg/Imu", "geometry_msgs/msg/Twist"
HISTORY = {"stack": "term", "order": "oldest_first", "length": 2, "fill": "zeros"}
NORM = {"preset": "sb3", "statistics": {"mean": [0.0, 0.0], "var": [1.0, 1.0]}}

ONE_MISTAKE: dict[str, tuple[Edit, str]] = {
    "unknown joint in a term": (
        _terms(term("joint_velocity", input="joints", joints=["a", "aa"])),
        f"{TERM}.joints[1]: expected a joint of joint_names (a, b), got 'aa'; did you mean 'a'?",
    ),
    "joint twice in a term": (
        _terms(term("joint_velocity", input="joints", joints=["a", "a"])),
        f"{TERM}.joints: expected every joint once, got 'a' twice",
    ),
    "unknown joint in the action": (
        _group(joints=["a", "left"]),
        "action[0].groups[0].joints[1]: expected a joint of joint_names (a, b), got 'left'",
    ),
    "joint twice in the action": (
        _group(joints=["a", "a"]),
        "action[0].groups[0].joints[1]: expected each joint's velocity commanded once, "
        "got 'a' again",
    ),
    "unknown input": (
        _terms(term("joint_velocity", input="joint")),
        f"{TERM}.input: expected one of joints, got joint; did you mean 'joints'?",
    ),
    "unknown field": (
        _terms(term("field", input="imu", field="angular_velocty"), imu=IMU),
        f"{TERM}.field: expected one of orientation, angular_velocity, linear_acceleration, "
        "orientation_covariance, angular_velocity_covariance, linear_acceleration_covariance for "
        f"'angular_velocty' of {IMU}, got 'angular_velocty'; did you mean 'angular_velocity'?",
    ),
    "field of a number": (
        _terms(term("field", input="imu", field="orientation.x.y"), imu=IMU),
        f"{TERM}.field: expected one of no further field for 'y' of {IMU}, got 'orientation.x.y'",
    ),
    "field of an unknown type without a size": (
        _terms(term("field", input="x", field="values"), x="my_msgs/msg/Thing"),
        f"{TERM}.field: expected the key `size` next to `field`, since this message type is not "
        "known of my_msgs/msg/Thing, got 'values'",
    ),
    "size next to a field of another size": (
        _terms(term("field", input="imu", field="angular_velocity", size=2), imu=IMU),
        f"{TERM}.size: expected 3, the numbers of 'angular_velocity', got 2",
    ),
    "size next to a slice of another size": (
        _terms(term("field", input="x", field="data[2:4]", size=3), x="my_msgs/msg/Thing"),
        f"{TERM}.size: expected 2, the numbers of 'data[2:4]', got 3",
    ),
    "a field said with two sizes": (
        _terms(
            term("field", input="x", field="d", size=1),
            term("field", input="x", field="d", size=2),
            x="my_msgs/msg/Thing",
        ),
        "observation[0].terms[1].size: expected 1, the numbers of 'd', got 2",
    ),
    "neither field nor fields": (
        _terms(term("field", input="imu"), imu=IMU),
        f"{TERM}: expected one of `field` and `fields`, got both or none",
    ),
    "a slice of nothing": (
        _terms(term("field", input="x", field="data[3:3]"), x="my_msgs/msg/Thing"),
        f"{TERM}.field: expected a slice [first:last] with first < last of my_msgs/msg/Thing, "
        "got 'data[3:3]'",
    ),
    "joints of an Imu": (
        _terms(term("joint_velocity", input="imu"), imu=IMU),
        f"{TERM}.input: expected an input of type sensor_msgs/msg/JointState, got {IMU}",
    ),
    "command from an Imu": (
        _terms(term("velocity_command", input="imu"), imu=IMU),
        f"{TERM}.input: expected an input of type geometry_msgs/msg/Twist or TwistStamped, "
        f"got {IMU}",
    ),
    "gravity from a vector": (
        _terms(term("projected_gravity", input="imu", field="angular_velocity"), imu=IMU),
        f"{TERM}.field: expected a quaternion (x, y, z, w), got 3 numbers",
    ),
    "velocity relative to a pose": (
        lambda c: (
            c.update(default_joint_pos=[0.0, 0.0]),
            _tensor(c)["terms"][0].update(relative_to="default_joint_pos"),
        ),
        f"{TERM}.relative_to: expected a joint_position term and `default_joint_pos` in the "
        "spec, got joint_velocity",
    ),
    "position relative to no pose": (
        _terms(term("joint_position", input="joints", relative_to="default_joint_pos")),
        f"{TERM}.relative_to: expected a joint_position term and `default_joint_pos` in the "
        "spec, got no default_joint_pos",
    ),
    "velocity action relative to a pose": (
        _group(relative_to="default_joint_pos"),
        "action[0].groups[0].relative_to: expected zero: a velocity or an effort has no pose to "
        "be relative to, got default_joint_pos",
    ),
    "position action relative to no pose": (
        _group(kind="position", relative_to="default_joint_pos"),
        "action[0].groups[0].relative_to: expected `default_joint_pos` in the spec, got none",
    ),
    "measured without a measurement": (
        _group(kind="position", relative_to="measured"),
        "action: expected a joint_position term of 'a' for relative_to measured, got none",
    ),
    "scale of another length": (
        lambda c: _tensor(c)["terms"][0].update(scale=[1, 2, 3]),
        f"{TERM}.scale: expected one number or 2 numbers, got 3",
    ),
    "clip of another length": (
        lambda c: _tensor(c)["terms"][0].update(clip=[[0, 1]]),
        f"{TERM}.clip: expected [low, high] or 2 of them, got 1",
    ),
    "clip upside down": (
        lambda c: _tensor(c)["terms"][0].update(clip=[[0, 1], [1, 0]]),
        f"{TERM}.clip[1]: expected low at most high, got [1.0, 0.0]",
    ),
    "action scale of another length": (
        _group(scale=[1, 2, 3]),
        "action[0].groups[0].scale: expected one number or 2 numbers, got 3",
    ),
    "action scale of a joint elsewhere": (
        _group(scale={"a": 1, "bb": 2}),
        "action[0].groups[0].scale: expected a name or pattern of a, b, got 'bb'; "
        "did you mean 'b'?",
    ),
    "action offset of one joint only": (
        _group(offset={"a": 1}),
        "action[0].groups[0].offset: expected a number for every one of a, b, got none: b",
    ),
    "slice of another length": (
        _group(slice=[0, 1]),
        "action[0].groups[0].slice: expected 2 elements, one per joint, got [0, 1]",
    ),
    "slice outside": (
        _group(slice=[1, 3]),
        "action[0].groups[0]: expected elements within output 'act' of 2, got [1, 3]",
    ),
    "groups smaller than the output": (
        _group(joints=["a"]),
        "action[0].groups: expected groups that add up to the 2 elements of 'act', got 1; "
        "name a slice to leave some out",
    ),
    "a slice in one group only": (
        lambda c: c["action"][0].update(
            groups=[
                {"kind": "velocity", "joints": ["a"], "slice": [1, 2]},
                {"kind": "velocity", "joints": ["b"]},
            ]
        ),
        "action[0].groups: expected a slice in every group of the tensor, or in none, got 1 of 2",
    ),
    "terms that do not add up": (
        _terms(term("joint_velocity", input="joints"), term("constant", name="one", value=[1])),
        "observation[0].terms: expected terms that add up to the 2 elements of 'obs', "
        "got 3 (joint_velocity 2, one 1)",
    ),
    "history that does not add up": (
        lambda c: _tensor(c).update(history=HISTORY),
        "observation[0].terms: expected terms that add up to the 2 elements of 'obs', "
        "got 4 (joint_velocity 2)",
    ),
    "history without normalization.on": (
        lambda c: _tensor(c).update(history=HISTORY, normalization=NORM),
        "observation[0].normalization.on: expected frame or stacked, since there is a history, "
        "got none",
    ),
    "an output ignored that is not there": (
        lambda c: c.update(ignored_outputs=["val"]),
        "ignored_outputs[0]: expected a tensor of the model (act), got 'val'",
    ),
    "input that nothing reads": (
        lambda c: c["inputs"].update(extra={"type": IMU, "topic": "imu"}),
        "inputs.extra: expected an input that some term reads, got none; remove it",
    ),
}


@pytest.mark.parametrize("case", ONE_MISTAKE)
def test_one_mistake_is_one_sentence(tmp_path: Path, case: str) -> None:
    edit, sentence = ONE_MISTAKE[case]
    content = spec_content()
    edit(content)
    model = FakeModel({"obs": (1, 2)}, {"act": (1, 2)})
    found = refused(make_rig, tmp_path, content, model)
    # A term of another size changes the sum too; there is no other second sentence.
    others = [
        s for s in found if not s.endswith(sentence) and "expected terms that add up" not in s
    ]
    assert f"{tmp_path / 'policy.yaml'}: {sentence}" in found
    assert others == []
