"""The scripted robot of a fault: its messages, and what a test may change in them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from runner_rig import Peer

FEED_S = 0.01
UPRIGHT, ON_ITS_SIDE = (0.0, 0.0, 0.0, 1.0), (math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5))


class ScriptedRobot:
    """Publishes joint states, an orientation, and a velocity command, at 100 Hz."""

    def __init__(self, peer: Peer, kind: str, simulated: bool, silent: set[str]) -> None:
        self.peer, self.kind = peer, kind
        # The robot's messages. A fault changes one of these attributes.
        self.velocity = [1.0, -2.0]
        self.twist = [0.5, 0.25, 0.0, 0.0]
        self.orientation: tuple[float, ...] = UPRIGHT
        self.silent = silent
        self.spoil: Callable[[Any], None] | None = None  # changes a message before it is sent
        self.encode: Callable[[Any], Any] | None = None  # converts a message, such as into bytes
        self.position = [0.1, 0.2]
        self.gain = 2.0  # gain of the policy that should run
        self.shift_ns: int | None = 0  # shift of the stamps; None: the stamp is 0
        self.shifted = {"joints"}  # the inputs whose stamps are shifted
        self.sim_ns = 10**9
        self.clock_runs = False
        self.simulated = simulated
        self._stop = threading.Event()
        self._feeder = threading.Thread(target=self._feed, name="robot")

    def begin(self) -> None:
        """Start to publish."""
        self._feeder.start()

    def end(self) -> None:
        """Stop publishing for good."""
        self._stop.set()
        self._feeder.join()

    def _feed(self) -> None:
        while not self._stop.wait(FEED_S):
            self.publish()
            if self.clock_runs:
                self.sim_ns += round(FEED_S * 1e9)
                self.show_clock()

    def show_clock(self) -> None:
        """Publish /clock."""
        from rosgraph_msgs.msg import Clock

        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(self.sim_ns, 10**9)
        self.peer.publisher(Clock, "clock").publish(message)

    def publish(self) -> None:
        """Publish one message of every input that is not silent."""
        for name, make in (("joints", self._joints), ("imu", self._imu), ("command", self._cmd)):
            if name in self.silent:
                continue
            topic, message = make()
            now = self.sim_ns if self.simulated else time.time_ns()
            stamp = now
            if name in self.shifted:
                stamp = 0 if self.shift_ns is None else now + self.shift_ns
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
            if self.spoil is not None:
                self.spoil(message)
            sent = message if self.encode is None else self.encode(message)
            self.peer.publisher(type(message), topic).publish(sent)

    def _joints(self) -> tuple[str, Any]:
        from sensor_msgs.msg import JointState

        left, right = self.velocity
        message = JointState(name=["caster", "right_joint", "left_joint"])
        message.velocity = [9.0, float(right), float(left)]
        if self.kind == "position":
            message.position = [9.0, float(self.position[1]), float(self.position[0])]
        return "joint_states", message

    def _imu(self) -> tuple[str, Any]:
        from sensor_msgs.msg import Imu

        message = Imu()
        q = message.orientation
        q.x, q.y, q.z, q.w = (float(v) for v in self.orientation)
        return "imu", message

    def _cmd(self) -> tuple[str, Any]:
        from geometry_msgs.msg import TwistStamped

        message = TwistStamped()
        linear, angular = message.twist.linear, message.twist.angular
        linear.x, angular.z, linear.y, linear.z = (float(v) for v in self.twist)
        return "cmd_vel", message
