"""No parameter is accepted and then ignored: unread parameters, times below one period."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from runner_rig import write_parameters, write_policy

from policy_runner.core.errors import Refusal
from policy_runner.robot.load import load_policy

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="onnx makes the model")
JOINTS = ["left_joint", "right_joint"]
POSITIONS = [{"tensor": "actions", "groups": [{"kind": "position", "joints": JOINTS}]}]


def refused(tmp_path: Path, **parameters: object) -> list[str]:
    policy = write_policy(
        tmp_path / "policy",
        action=POSITIONS,
        default_joint_pos={"left_joint": 0.0, "right_joint": 0.0},
    )
    file = write_parameters(tmp_path / "robot.yaml", **parameters)
    try:
        load_policy(policy, file).close()
    except Refusal as refusal:
        return [str(problem) for problem in refusal.problems]
    return []


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        (
            {"command__layout": ["position", "stiffness"]},
            "parameter command.layout: expected nothing, since only command.type "
            "float64_multi_array reads it, got ['position', 'stiffness']; leave it out, or set "
            "command.type, which is joint_state",
        ),
        (
            {"command__type": "joint_trajectory", "command__message_type": "a/msg/B"},
            "parameter command.message_type: expected nothing, since only command.type message "
            "reads it, got 'a/msg/B'; leave it out, or set command.type, which is joint_trajectory",
        ),
        ({"command__fields": ["a"]}, "parameter command.fields: expected nothing"),
        ({"command__stiffness_fields": ["a"]}, "parameter command.stiffness_fields: expected"),
        ({"command__damping_fields": ["a"]}, "parameter command.damping_fields: expected"),
        ({"command__constants": ["a=1"]}, "parameter command.constants: expected nothing"),
        (
            {"command__twist_type": "twist"},
            "parameter command.twist_type: expected twist_stamped, since nothing reads it for a "
            "policy that commands no twist, got twist",
        ),
    ],
)
def test_what_nothing_reads_is_refused(
    tmp_path: Path, parameters: dict[str, object], sentence: str
) -> None:
    (said,) = refused(tmp_path, **parameters)
    assert said.startswith(sentence)


def test_what_is_read_or_has_its_default_is_not_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, command__type="joint_state", command__twist_type="twist_stamped") == []
    layout = ["position"]
    assert refused(tmp_path, command__type="float64_multi_array", command__layout=layout) == []


@pytest.mark.parametrize("name", ["stop.ramp_s", "start_pose.duration", "blend_in"])
def test_a_time_shorter_than_a_period_would_be_a_jump(tmp_path: Path, name: str) -> None:
    key = name.replace(".", "__")
    (said,) = refused(tmp_path, **{key: 0.0199})
    assert said == (
        f"parameter {name}: expected 0, or at least one control period (0.02 s), got 0.0199"
    )
    assert refused(tmp_path, **{key: 0.02}) == []


def test_live_too(tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "policy", action=POSITIONS)
    loaded = load_policy(policy)
    with pytest.raises(Refusal, match=r"parameter stop\.ramp_s: expected 0, or at least"):
        loaded.settings_with({"stop.ramp_s": 0.001})
    loaded.close()
