"""Joints that the policy does not drive: one number each, in messages with a place for them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
from runner_rig import spec as toy

from policy_runner.core.errors import Refusal
from policy_runner.core.spec import PolicySpec
from policy_runner.core.spec.elements import action_elements

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")
JOINTS = ["left_joint", "right_joint"]


def _held(
    held: list[str], kinds: str = "velocity", message: str = "joint_state", **more: Any
) -> Any:
    from policy_runner.robot.config import robot_config
    from policy_runner.robot.parameters.policy import policy_rows
    from policy_runner.robot.parameters.runner import TABLE
    from policy_runner.robot.settings import robot_joints
    from policy_runner.ros.outputs.command_format import command_format

    groups: list[dict[str, Any]] = []
    for kind in kinds.split():
        names = {"axes": ["linear.x"]} if kind == "twist" else {"joints": JOINTS}
        groups.append({"kind": kind, **names})
    spec = PolicySpec.model_validate(toy(action=[{"tensor": "actions", "groups": groups}]))
    elements = action_elements(spec, "policy.yaml")
    rows = (*TABLE, *policy_rows(spec, elements))
    values = {row.name: row.default for row in rows}
    values |= {"command.held_joints": held, "command.type": message, **more}
    config = robot_config(values, spec, elements, simulated=False)
    return command_format(config.command, spec, "f", robot_joints(config), 1).held


@pytest.mark.parametrize("kinds", ["velocity", "position twist"])
@pytest.mark.parametrize("message", ["joint_state", "joint_trajectory", "float64_multi_array"])
def test_held_joints_are_read(message: str, kinds: str) -> None:
    assert _held(["head=0.5", "tail = -1e-3"], kinds, message) == {"head": 0.5, "tail": -0.001}


@pytest.mark.parametrize("message", ["float64", "message"])
def test_a_message_without_a_place_for_them_is_fine_without_them(message: str) -> None:
    assert _held([], "velocity", message) == {}


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999", "", "a"])
def test_what_is_not_a_finite_number_is_refused(number: str) -> None:
    with pytest.raises(Refusal) as caught:
        _held([f"head={number}"])
    assert str(caught.value) == (
        f"parameter command.held_joints: expected `joint=number` each, finite, got 'head={number}'"
    )


@pytest.mark.parametrize(
    ("message", "kinds", "got"),
    [
        ("float64", "velocity", "command.type float64, which has no place for them"),
        ("message", "velocity", "use command.constants"),
        ("joint_state", "twist", "twist first"),
    ],
)
def test_what_would_be_left_out_without_a_word_is_refused(
    message: str, kinds: str, got: str
) -> None:
    with pytest.raises(Refusal) as caught:
        _held(["head=0.5"], kinds, message)
    assert str(caught.value).startswith("parameter command.held_joints: expected none")
    assert got in str(caught.value)


def test_a_stamp_of_zero_is_for_trajectories() -> None:
    zero = {"command.stamp": "zero"}
    assert _held([], message="joint_trajectory", **zero) == {}
    with pytest.raises(Refusal) as caught:
        _held([], message="joint_state", **zero)
    text = "parameter command.stamp: expected now, got zero for command.type joint_state"
    assert str(caught.value).startswith(text)
