"""A policy with chunks sends trajectories; what a controller makes of them is the command."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from output_rig import FakeTopics, elements_of, make_commands

from policy_runner.core.chunks.rules import ChunkRules
from policy_runner.core.chunks.trajectory import Trajectory
from policy_runner.core.chunks.trajectory_player import TrajectoryPlayer
from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.model import Array
from policy_runner.core.settings import RUNNING, STOPPED, CommandLimits

MS = 1_000_000
TICK = 10 * MS
DT = 40 * MS
LEAD = 30 * MS
STAMPS = 5_000_000_000  # the node's clock is ahead of the loop's
SIGN, OFFSET = np.array([-1.0, 1.0]), np.array([0.5, 0.0])


class Play:
    """A player, its publisher, and a controller that interpolates what was sent."""

    def __init__(self, limits: CommandLimits | None = None) -> None:
        from policy_runner.ros.outputs.command_messages import CommandFormat

        self.topics = FakeTopics()
        elements = elements_of(a="position", b="position")
        robot = {"a": RobotJoint("arm_a", -1.0, 0.5), "b": RobotJoint("arm_b")}
        self.commands = make_commands(
            self.topics, elements, CommandFormat("joint_trajectory"), robot, ["arm_b", "arm_a"]
        )
        self.player = TrajectoryPlayer(ChunkRules(12, DT), 2, TICK, LEAD)
        self.commands.send_trajectories(self.player, LEAD)
        self.limits = limits
        self.player.hold(np.zeros(2))
        self.now = 0
        self.late_ns = 0  # of the node's clock, when it is read in a tick
        self._heard = 0

    def tick(self, command: Array | None = None, manner: Any = RUNNING) -> list[Any]:
        """One tick; the messages that it sends. `command`: in place of the player's action."""
        action = self.player.action_at(self.now) if manner is RUNNING else None
        given = command if command is not None else action
        assert given is not None
        if manner is not RUNNING:
            self.player.hold(given)
        sent_at = STAMPS + self.now + self.late_ns
        assert self.commands.publish(given, sent_at, manner, self.limits) == ""
        self.now += TICK
        heard = [message for _, message in self.topics.heard[self._heard :]]
        self._heard = len(self.topics.heard)
        return heard

    def offer(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        rows = generator.uniform(-0.1, 0.1, 2) + np.cumsum(
            generator.uniform(-0.02, 0.02, (12, 2)), axis=0
        )
        assert self.player.offer(rows, self.now - 20 * MS, self.now) == ""


def trajectory_of(message: Any) -> Trajectory:
    """The message in the policy's units and order, on the loop's clock."""
    assert message.joint_names == ["arm_b", "arm_a"]
    stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec - STAMPS
    times = [p.time_from_start.sec * 10**9 + p.time_from_start.nanosec for p in message.points]
    positions = np.array([p.positions for p in message.points])[:, ::-1]
    velocities = np.array([p.velocities for p in message.points])[:, ::-1]
    units = (positions - OFFSET) / SIGN
    return Trajectory(stamp, np.array(times, dtype=np.int64), units, velocities / SIGN)


def test_the_controllers_position_is_the_command_of_every_tick() -> None:
    play = Play()
    sent: list[Trajectory] = []
    for tick in range(200):
        if tick % 13 == 0:
            play.offer(tick)
        now = play.now
        play.late_ns = tick % 7 * MS if tick else 0
        messages = play.tick()
        assert len(messages) == (1 if tick % 13 == 0 else 0)
        for message in messages:
            assert len(message.points) > 2
            sent.append(trajectory_of(message))
            assert sent[-1].stamp_ns == now + LEAD
        begun = [one for one in sent if one.stamp_ns <= now]
        if begun:
            np.testing.assert_allclose(begun[-1].at(now).position, play.player.action, atol=1e-9)
        else:
            np.testing.assert_allclose(play.player.action, 0.0)  # the held command
    for before, after in itertools.pairwise(sent):
        edge = after.stamp_ns
        np.testing.assert_allclose(before.at(edge).position, after.positions[0], atol=1e-9)
        np.testing.assert_allclose(before.at(edge).velocity, after.velocities[0], atol=1e-9)


def test_a_stop_sends_its_command_at_once_and_the_next_run_a_trajectory() -> None:
    play = Play()
    play.offer(1)
    assert len(play.tick()[0].points) > 2
    assert play.tick() == []
    hold = np.array([0.01, 0.02])
    for _ in range(3):
        (message,) = play.tick(hold, STOPPED)
        assert len(message.points) == 1
        np.testing.assert_allclose(message.points[0].positions, [0.02, 0.49])
    (message,) = play.tick()
    again = trajectory_of(message)
    np.testing.assert_allclose(again.positions[0], hold)
    np.testing.assert_allclose(again.velocities[0], 0.0)


def test_a_step_of_the_nodes_clock_sends_the_rest_again() -> None:
    play = Play()
    play.offer(1)
    play.tick()
    assert play.tick() == []
    play.late_ns = 3_600_000 * MS
    (message,) = play.tick()
    stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
    assert stamp - play.late_ns - STAMPS == play.now - TICK + LEAD


def test_a_limit_sends_single_commands_until_the_trajectory_is_followed_again() -> None:
    play = Play()
    play.offer(1)
    play.tick()
    for _ in range(5):
        play.tick()
    other = play.player.action + 0.01
    (message,) = play.tick(other)
    assert len(message.points) == 1
    (message,) = play.tick()
    rest = trajectory_of(message)
    assert rest.stamp_ns == play.now - TICK + LEAD
    assert play.player.newest is not None
    np.testing.assert_allclose(
        rest.at(rest.stamp_ns + DT).position,
        play.player.newest.at(rest.stamp_ns + DT).position,
        atol=1e-9,
    )
    assert play.tick() == []


def test_a_command_that_was_refused_ends_the_trajectory() -> None:
    play = Play()
    play.offer(1)
    play.tick()
    play.commands.end(np.zeros(2), STAMPS + play.now)
    (message,) = play.tick()[-1:]
    assert len(message.points) > 2  # sent again: the robot has heard another command


@pytest.mark.parametrize(
    ("low", "max_rate"), [([-0.05, -0.05], [9.0, 9.0]), ([-9.0, -9.0], [0.05, 0.05])]
)
def test_a_trajectory_beyond_the_limits_is_not_sent(
    low: list[float], max_rate: list[float]
) -> None:
    limits = CommandLimits(np.array(low), np.full(2, 9.0), np.array(max_rate) * 0.01)
    play = Play(limits)
    play.player.offer(np.linspace([-0.04, 0.0], [-0.2, 0.3], 12), -20 * MS, 0)
    (message,) = play.tick()
    assert len(message.points) == 1


def test_every_number_of_points_is_a_message() -> None:
    """A shorter message is a prefix of the longest one, whatever the joint names' lengths."""
    from rclpy.serialization import deserialize_message
    from trajectory_msgs.msg import JointTrajectory

    from policy_runner.ros.outputs.trajectory_messages import TrajectoryMessages

    generator = np.random.default_rng(0)
    for size in (1, 2, 3):
        player = TrajectoryPlayer(ChunkRules(6, DT), size, TICK, LEAD)
        for letters in range(1, 9):
            names = [f"{k}" + "x" * letters for k in range(size)]
            robot = (np.ones(size), np.zeros(size))
            messages = TrajectoryMessages(player, names, np.arange(size), robot, LEAD, None)
            for count in (2, 5, 8):
                given = Trajectory(
                    7 * MS, DT * np.arange(count), *generator.normal(size=(2, count, size))
                )
                raw = messages.filled(given, STAMPS)
                found = deserialize_message(raw, JointTrajectory)
                assert found.joint_names == names
                assert found.header.stamp.nanosec == 7 * MS
                positions = np.array([one.positions for one in found.points])
                np.testing.assert_array_equal(positions, given.positions)
                last = found.points[-1].time_from_start
                assert last.sec * 10**9 + last.nanosec == given.times_ns[-1]
