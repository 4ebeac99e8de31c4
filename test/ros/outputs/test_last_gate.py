"""No number is published that is not finite or outside its bounds; held joints also stop."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from output_rig import FakeTopics, elements_of, make_commands, numbers_of

from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.settings import MOVING, RUNNING, STOPPED, CommandLimits, Manner

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="needs rclpy")
LIMITS = CommandLimits(np.array([-1.0, -2.0]), np.array([1.0, 2.0]), np.full(2, np.inf))


def wheels(kind: str = "velocity", **how: Any) -> tuple[FakeTopics, Any]:
    topics = FakeTopics()
    return topics, make_commands(topics, elements_of(a=kind, b=kind), **how)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.0000001, -3.0])
def test_a_number_that_is_not_within_its_bounds_is_refused_and_nothing_leaves(
    value: float,
) -> None:
    topics, commands = wheels()
    why = commands.publish(np.array([0.5, value]), 0, RUNNING, LIMITS)
    assert why == f"velocity of b: {value:g}, within -2 to 2"
    assert topics.heard == []
    assert not commands.commanded
    for good in (2.0, -2.0, 0.0, -0.0):
        assert commands.publish(np.array([0.5, good]), 0, RUNNING, LIMITS) == ""


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_without_bounds_it_is_still_finite(value: float) -> None:
    topics, commands = wheels()
    assert commands.publish(np.array([value, 0.0]), 0).startswith("velocity of a: ")
    assert commands.publish(np.array([1e300, 0.0]), 0) == ""
    assert len(topics.heard) == 1


def test_bounds_are_those_of_the_robots_number() -> None:
    robot = {"a": RobotJoint("left", -1.0, 0.25), "b": RobotJoint("right")}
    topics, commands = wheels("position", robot=robot)
    limits = CommandLimits(np.array([-0.5, -9.0]), np.array([1.0, 9.0]), np.full(2, np.inf))
    for end, sent in ((-0.5, 0.75), (1.0, -0.75)):
        assert commands.publish(np.array([end, 0.0]), 0, RUNNING, limits) == ""
        assert numbers_of(topics.heard[-1][1])["position", "left"] == sent
    why = commands.publish(np.array([1.01, 0.0]), 0, RUNNING, limits)
    assert why == "position of left: -0.76, within -0.75 to 0.75"


def test_new_limits_hold_at_once() -> None:
    _, commands = wheels()
    assert commands.publish(np.array([1.0, 2.0]), 0, RUNNING, LIMITS) == ""
    narrow = CommandLimits(LIMITS.low, np.array([0.5, 0.5]), LIMITS.max_step)
    assert commands.publish(np.array([1.0, 0.0]), 0, RUNNING, narrow)


def test_what_the_messages_type_cannot_hold_is_refused() -> None:
    from policy_runner.ros.outputs.command_messages import CommandFormat

    def made(message: str) -> Any:
        form = CommandFormat(
            "message", message_type=f"std_msgs/msg/{message}", fields=("data[0]", "data[1]")
        )
        return wheels(form=form)

    topics, commands = made("Float32MultiArray")
    assert commands.publish(np.array([1e39, 0.0]), 0).startswith("velocity of a: 1e+39")
    assert commands.publish(np.array([1.5, -2.5]), 0) == ""
    assert list(topics.heard[-1][1].data) == [1.5, -2.5]
    topics, commands = made("UInt8MultiArray")
    assert commands.publish(np.array([300.0, 0.0]), 0).endswith("within 0 to 255")
    assert commands.publish(np.array([-1.0, 0.0]), 0)
    assert commands.publish(np.array([199.6, 3.0]), 0) == ""
    assert list(topics.heard[-1][1].data) == [200, 3]


def test_efforts_are_within_the_limits_of_training() -> None:
    class Pd:
        limit = np.array([3.0, 4.0])
        effort = np.zeros(2)

        def compute(self, _target: Any) -> Any:
            return self.effort

        def stop(self, share: float) -> Any:
            return self.effort * 0.0

    pd = Pd()
    topics, commands = wheels("position", pd=pd)
    positions = CommandLimits(np.full(2, -0.1), np.full(2, 0.1), np.full(2, np.inf))
    pd.effort[:] = 3.0, -4.0
    assert commands.publish(np.zeros(2), 0, RUNNING, positions) == ""
    pd.effort[:] = 3.0, math.nan
    assert commands.publish(np.zeros(2), 0, RUNNING, positions).startswith("effort of b: nan")
    pd.effort[:] = 3.1, 0.0
    assert commands.publish(np.zeros(2), 0, RUNNING, positions)
    assert numbers_of(topics.heard[-1][1])["effort", "b"] == -4.0
    assert len(topics.heard) == 1


# --- the end ---


@pytest.mark.parametrize("command", [None, np.array([math.nan, 0.0])])
def test_the_last_command_is_made_of_what_left_where_the_given_one_must_not(command: Any) -> None:
    topics = FakeTopics()
    commands = make_commands(topics, elements_of(a="velocity", b="position"))
    commands.end(command, 0)
    assert topics.heard == []  # nothing was ever commanded
    commands.publish(np.array([3.0, 0.5]), 0)
    commands.publish(np.array([math.nan, 0.75]), 0)
    commands.end(command, 0)
    last = [numbers_of(message) for _, message in topics.heard[-2:]]
    assert last == [{("velocity", "a"): 0.0}, {("position", "b"): 0.5}]


def test_a_topic_that_fails_keeps_no_other_from_its_last_command() -> None:
    topics = FakeTopics()
    commands = make_commands(topics, elements_of(a="velocity", b="effort"))
    commands.publish(np.array([3.0, 0.5]), 0)
    topics.publishers["cmd/velocity", "JointState"].fails = True
    with pytest.raises(RuntimeError, match="cmd/velocity is gone"):
        commands.end(np.zeros(2), 0)
    assert numbers_of(topics.heard[-1][1]) == {("effort", "b"): 0.0}


def test_a_new_loop_owes_nothing_of_the_one_before() -> None:
    topics, commands = wheels("position")
    commands.publish(np.array([3.0, 0.5]), 0)
    commands.begin()
    commands.end(None, 0)
    assert len(topics.heard) == 1


# --- held joints ---


def held(kind: str, manner: Manner) -> float:
    from policy_runner.ros.outputs.command_messages import CommandFormat

    topics, commands = wheels(kind, form=CommandFormat("joint_state", held={"caster": 3.0}))
    assert commands.publish(np.zeros(2), 0, manner) == ""
    return numbers_of(topics.heard[-1][1])[kind, "caster"]


@pytest.mark.parametrize("kind", ["velocity", "effort"])
def test_a_held_velocity_or_effort_follows_the_stops(kind: str) -> None:
    assert held(kind, RUNNING) == 3.0
    assert held(kind, MOVING) == 0.0
    assert held(kind, STOPPED) == 0.0
    half = Manner(0.5, False, 0.5, 0.25)
    assert held(kind, half) == (1.5 if kind == "velocity" else 0.75)


def test_a_held_position_stays() -> None:
    assert [held("position", one) for one in (RUNNING, MOVING, STOPPED)] == [3.0] * 3


@pytest.mark.parametrize("kind", ["velocity", "effort"])
def test_the_last_command_of_a_held_joint_is_zero(kind: str) -> None:
    from policy_runner.ros.outputs.command_messages import CommandFormat

    for command in (np.zeros(2), None):
        topics, commands = wheels(kind, form=CommandFormat("joint_state", held={"caster": 3.0}))
        commands.publish(np.ones(2), 0)
        commands.end(command, 0)
        assert numbers_of(topics.heard[-1][1])[kind, "caster"] == 0.0
