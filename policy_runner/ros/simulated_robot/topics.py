"""Topics of the simulated robot: its sensors, the commands that it takes, clock and status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist, TwistStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Float64MultiArray

from policy_runner.ros.inputs.polling import MessageWait, PolledSubscription
from policy_runner.ros.messages.topics import COMMAND_TOPIC
from policy_runner.ros.simulated_robot.command_reader import (
    MESSAGES,
    NS_PER_S,
    CommandReader,
    SentCommand,
)
from policy_runner.ros.simulated_robot.seen import RobotSeen
from policy_runner.ros.simulated_robot.sensor_messages import SensorTopics, set_stamp
from policy_runner.ros.simulated_robot.worlds import World
from policy_runner.sim.loop.sensor_numbers import SensorNoise

STATUS_TOPIC = "policy_runner/status"
GAINS_TOPIC = "policy_runner/joint_gains"


def _qos(reliable: bool = True) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=10,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
    )


class RobotTopics:
    """Publishers and polled subscriptions of one simulated robot.

    The command subscriptions are best effort in real time, because that matches every publisher.
    In lockstep they are reliable, because no message may be lost. Publishers are always reliable,
    which matches both kinds of subscriber.
    """

    def __init__(self, node: Node, world: World, values: Mapping[str, Any]) -> None:
        """Create the publishers and subscriptions.

        Args:
            node: creates them.
            world: the robot and its command.
            values: the node's parameters.

        Raises:
            Refusal: a sensor does not fit the model, or a camera cannot be rendered.
        """
        self._node, self._world = node, world
        lockstep = values["mode"] == "lockstep"
        noise = SensorNoise(values["seed"]) if values["noise"] else None
        if noise is not None:
            noise.restart(values["seed"])  # as `PolicyInLoop.begin`: the same floats
        publisher = node.create_publisher
        self.sensors = SensorTopics(node, world.plant, _qos(), noise, lockstep)
        self._twist: Any = None
        if values["commands"] == "random":
            self._twist = TwistStamped() if values["twist_type"] == "twist_stamped" else Twist()
            self._twist_publisher = publisher(type(self._twist), values["twist_topic"], _qos())
        clock = lockstep or values["publish_clock"]
        self._clock_publisher = publisher(Clock, "/clock", _qos()) if clock else None
        self._clock = Clock()
        self._diagnostics_publisher = publisher(DiagnosticArray, "/diagnostics", _qos())
        self._seen = RobotSeen(node, world.plant, self.sensors.odometry)
        self.commands = CommandReader(world.plant.joint_names, world.expected)
        self._inputs = _command_inputs(node, world, values, _qos(reliable=lockstep))
        self.kinds = len({kind for _, kind, _ in self._inputs})
        self._status = PolledSubscription(node, DiagnosticArray, STATUS_TOPIC, _qos())
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._gains = PolledSubscription(node, Float64MultiArray, GAINS_TOPIC, latched)
        inputs = [polled for polled, _, _ in self._inputs]
        self._messages = MessageWait(node.context, [*inputs, self._status])
        self._stamp_ns = 0

    # -- out ---------------------------------------------------------------------------------

    def set_state(self, stamp_ns: int) -> None:
        """Fill all messages with one time and the robot's present state, without publishing."""
        self._stamp_ns = stamp_ns
        for topic in self.sensors.topics:
            topic.set(stamp_ns)
        set_stamp(self._clock.clock, stamp_ns)
        if self._twist is None:
            return
        twist = self._twist
        if isinstance(twist, TwistStamped):
            set_stamp(twist.header.stamp, stamp_ns)
            twist.header.frame_id = "base_link"
            twist = twist.twist
        twist.linear.x, twist.linear.y, twist.angular.z = map(float, self._world.twist)

    def publish_state(self) -> None:
        """Publish the messages that `set_state` filled; a second call repeats them."""
        for topic in self.sensors.topics:
            topic.publish()
        if self._twist is not None:
            self._twist_publisher.publish(self._twist)
        self._seen.publish(self._stamp_ns)
        if self._clock_publisher is not None:
            self._clock_publisher.publish(self._clock)

    def publish_diagnostics(self, stamp_ns: int, status: Any) -> None:
        """Publish one status on /diagnostics."""
        message = DiagnosticArray(status=[status])
        set_stamp(message.header.stamp, stamp_ns)
        self._diagnostics_publisher.publish(message)

    # -- in ----------------------------------------------------------------------------------

    def wait(self, timeout_s: float) -> None:
        """Sleep until a message can be taken, or until the timeout."""
        self._messages.wait(max(0, int(timeout_s * NS_PER_S)))

    def take_commands(self) -> list[SentCommand]:
        """Take every waiting command that is usable, oldest first within each topic."""
        return [
            command
            for polled, kind, names in self._inputs
            for message in _take_all(polled)
            for command in self.commands.read(message, kind, names)
        ]

    def take_statuses(self) -> list[int]:
        """Take every waiting status of the runner; return the stamps [ns], oldest first."""
        return [
            int(message.header.stamp.sec) * NS_PER_S + int(message.header.stamp.nanosec)
            for message in _take_all(self._status)
        ]

    def take_gains(self) -> dict[str, tuple[float, float]]:
        """Take the gains that the runner has published since the last call, by joint."""
        found: dict[str, tuple[float, float]] = {}
        for message in _take_all(self._gains):
            names = message.layout.dim[0].label.split(",") if message.layout.dim else []
            if len(message.data) == 2 * len(names):
                pairs = zip(message.data[::2], message.data[1::2], strict=True)
                found.update(zip(names, pairs, strict=True))
        return found

    def publisher_counts(self) -> tuple[int, int]:
        """Return the number of publishers of commands and of the runner's status."""
        count = self._node.count_publishers
        resolve = self._node.resolve_topic_name
        topics = {polled.subscription.topic_name for polled, _, _ in self._inputs}
        return max(map(count, topics)), count(resolve(STATUS_TOPIC))


def _command_inputs(
    node: Node, world: World, values: Mapping[str, Any], qos: QoSProfile
) -> list[tuple[PolledSubscription, str, Sequence[str]]]:
    """Subscribe to the topics that the runner commands on: subscription, kind, joints."""
    kinds, name = list(values["command_kinds"]), values["command_type"]
    found: list[tuple[PolledSubscription, str, Sequence[str]]] = []
    for kind in kinds:
        topic = COMMAND_TOPIC if len(kinds) == 1 else f"{COMMAND_TOPIC}/{kind}"
        twist = kind == "twist"
        usual = values["command_twist_type"] if twist else name
        if usual == "float64":
            for joint in world.plant.driven_joints:
                polled = PolledSubscription(node, MESSAGES[usual], f"{topic}/{joint}", qos)
                found.append((polled, kind, (joint,)))
            continue
        found.append((PolledSubscription(node, MESSAGES[usual], topic, qos), kind, ()))
    return found


def _take_all(polled: PolledSubscription) -> list[Any]:
    messages = []
    while (taken := polled.take()) is not None:
        messages.append(taken[0])
    return messages
