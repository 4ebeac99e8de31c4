"""Sends the trajectories of a policy with chunks, in place of one command per tick."""

from __future__ import annotations

import array
import struct

import numpy as np
import numpy.typing as npt
from rclpy.publisher import Publisher

from policy_runner.core.chunks.trajectory import Trajectory
from policy_runner.core.chunks.trajectory_player import TrajectoryPlayer
from policy_runner.core.inputs.cdr import ENCAPSULATION, read_layout
from policy_runner.core.model import Array
from policy_runner.core.settings import CommandLimits
from policy_runner.ros.messages.serialized import SerializedCommand
from policy_runner.ros.messages.types import describe_message

_TYPE = "trajectory_msgs/msg/JointTrajectory"
# A command that differs by less from the trajectory follows it: rounding only.
_SAME = 1e-9
# A larger change between the two clocks is a step of the node's clock, not a late tick.
_STEPPED_NS = 50_000_000


class TrajectoryMessages:
    """Decides in every tick whether the robot follows a trajectory, and makes its message.

    The robot follows the newest trajectory as long as the command of each tick is the
    trajectory's position. A stop, a limit or a move to the start pose makes another command: then
    single commands are sent, until the command is the trajectory's again.
    """

    def __init__(
        self,
        player: TrajectoryPlayer,
        names: list[str],
        order: npt.NDArray[np.intp],
        robot: tuple[Array, Array],
        lead_ns: int,
        publisher: Publisher,
    ) -> None:
        """Serialize the longest message.

        Args:
            player: plans the trajectories.
            names: the robot's joints, in the message's order.
            order: the element of each joint in the message.
            robot: sign and offset of each element: robot value = sign * policy value + offset.
            lead_ns: time between the sending and the first point [ns].
            publisher: of the topic.
        """
        self._player, self._order, self._publisher = player, order, publisher
        self._sign, self._offset = robot
        self._lead_ns = lead_ns
        self._most = (
            player.steps + 2
        )  # the first point may lie between two actions; the last one stops
        self._serialized = _longest(names, self._most)
        self._values = np.zeros((self._most, 2 * len(names) + 2))
        # Two sequences of doubles with their lengths, two empty ones, and the time. It is a
        # multiple of 8, so a shorter message is a prefix of the longest one.
        self._point_bytes = 32 + 16 * len(names)
        whole = self._serialized.filled(self._values.reshape(-1), 0)
        places = read_layout(whole, _TYPE, describe_message).places
        self._end_at = places[f"points[{self._most - 1}].time_from_start.nanosec"].offset + 4
        self._count_at = _place_of_count(names)
        # From the loop's clock to the node's. It stays while the robot follows: measured again at
        # every message, the wake-up of a late tick would shift one trajectory against the other.
        # `_least_ns` is the smallest one: that of the most punctual tick.
        self._clocks_ns = self._least_ns = 0
        self._sent = 0  # number of the trajectory that the robot follows; 0: none

    def send(
        self, command: Array, stamp_ns: int, running: bool, limits: CommandLimits | None
    ) -> bool:
        """Send a trajectory if there is a new one.

        Args:
            command: of this tick, float64 [elements].
            stamp_ns: the node's clock at this tick [ns].
            running: the decision is RUN.
            limits: of the elements.

        Returns:
            Whether the robot follows a trajectory. Otherwise the command must be sent.
        """
        player = self._player
        newest = player.newest
        clocks_ns = stamp_ns - player.now_ns
        if not 0 <= clocks_ns - self._least_ns <= _STEPPED_NS:
            self._least_ns = clocks_ns
        if abs(self._least_ns - self._clocks_ns) > _STEPPED_NS:
            self._sent = 0
        if not running or newest is None or not self._is_followed(command):
            self._sent = 0
            return False
        if player.number == self._sent:
            return True
        given: Trajectory | None = newest
        if self._sent == 0:
            self._clocks_ns = self._least_ns
        begins_ns = player.now_ns + self._lead_ns
        if self._sent == 0 and begins_ns > newest.stamp_ns:
            given = newest.rest(begins_ns)
        if given is None or not self._is_within(given, limits):
            self._sent = 0
            return False
        self._sent = player.number
        self._publisher.publish(self.filled(given, self._clocks_ns))
        return True

    def interrupt(self) -> None:
        """Note that another message was sent: the robot follows no trajectory any more."""
        self._sent = 0

    def _is_followed(self, command: Array) -> bool:
        return bool(np.abs(command - self._player.action).max() < _SAME)

    def _is_within(self, given: Trajectory, limits: CommandLimits | None) -> bool:
        """Whether every point is within the bounds and the rate of its joint."""
        if limits is None:
            return bool(np.isfinite(given.positions).all())
        inside = (given.positions >= limits.low) & (given.positions <= limits.high)
        most = limits.max_step * (1e9 / self._player.period_ns) * (1.0 + 1e-6)
        return bool(inside.all() and (np.abs(given.velocities) <= most).all())

    def filled(self, given: Trajectory, clocks_ns: int) -> bytes:
        """The bytes of the message.

        Args:
            given: in the policy's units.
            clocks_ns: the node's clock minus the loop's [ns].
        """
        count, joints = len(given.times_ns), len(self._order)
        values = self._values
        values[:count, :joints] = (given.positions * self._sign + self._offset)[:, self._order]
        values[:count, joints:-2] = (given.velocities * self._sign)[:, self._order]
        values[:count, -2], values[:count, -1] = np.divmod(given.times_ns, 1_000_000_000)
        values[count:] = 0.0
        whole = self._serialized.filled(values.reshape(-1), given.stamp_ns + clocks_ns)
        head = bytearray(whole[: self._end_at - (self._most - count) * self._point_bytes])
        struct.pack_into("<I", head, self._count_at, count)
        return bytes(head)


def _place_of_count(names: list[str]) -> int:
    """Where the number of points is in the bytes: after the stamp, an empty frame and the names.

    Padding may hold any byte, so this place cannot be recognized by its content.
    """
    end = 8 + 4 + 1  # the stamp; the length and the closing zero of the frame
    end += -end % 4 + 4  # the number of names
    for name in names:
        end += -end % 4 + 4 + len(name.encode()) + 1
    return ENCAPSULATION + end + -end % 4


def _longest(names: list[str], count: int) -> SerializedCommand:
    """The message with the most points."""
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    zeros, joints = bytes(8 * len(names)), range(len(names))
    points = [
        JointTrajectoryPoint(positions=array.array("d", zeros), velocities=array.array("d", zeros))
        for _ in range(count)
    ]
    message = JointTrajectory(joint_names=names, points=points)
    paths = []
    for k in range(count):
        for field in ("positions", "velocities"):
            paths += [f"points[{k}].{field}[{j}]" for j in joints]
        paths += [f"points[{k}].time_from_start.{part}" for part in ("sec", "nanosec")]
    return SerializedCommand(message, _TYPE, paths)
