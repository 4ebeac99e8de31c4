"""Hears what shows a robot, for recordings: descriptions, and where every link is.

Where `tf2_msgs` is installed, the messages of /tf are taken as they come. Without them the
transforms are computed from robot_description, joint_states and odom.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from policy_runner.core.errors import Refusal
from policy_runner.core.inputs.cdr import Unreadable
from policy_runner.robot.transforms import LinkTree
from policy_runner.ros.messages.raw_reader import CheckedDeserializer
from policy_runner.telemetry.recording.transforms_cdr import (
    STRING_TYPE,
    TF_TYPE,
    Pose,
    write_transforms,
)

Add = Callable[[bytes, int, str, str], None]  # message, wall time [ns], topic, type
TF, TF_STATIC, DESCRIPTION = "/tf", "/tf_static", "robot_description"
_LOOK_S = 0.5
_LEAST_NS = 20_000_000  # between two messages with transforms of one robot
_MOST_ITEMS = 65_536
_LATCHED = QoSProfile(
    depth=10,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
_LATEST = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


def tf_message() -> Any:
    """Return the class TFMessage, or None if `tf2_msgs` is not installed: PyPI has no wheel."""
    try:
        return importlib.import_module("tf2_msgs.msg").TFMessage
    except ImportError:
        return None


def frame_prefix(namespace: str) -> str:
    """Return what begins the frames of a robot in this namespace: two robots in one scene."""
    space = namespace.strip("/")
    return f"{space}/" if space else ""


class RobotsListener:
    """Finds the robots of the graph and passes on what shows them."""

    def __init__(self, node: Node, add: Add) -> None:
        """Start to look for robots.

        Args:
            node: gets the subscriptions and a timer.
            add: gets every message; called in the thread of the node's executor.
        """
        self._node = node
        self._add = add
        self._robots: dict[str, _Robot] = {}
        kind = tf_message()
        self._hears_tf = kind is not None
        for topic, qos in ((TF, _LATEST), (TF_STATIC, _LATCHED)) if kind is not None else ():
            node.create_subscription(kind, topic, self._passing(topic), qos, raw=True)
        node.create_timer(_LOOK_S, self._look)

    def _passing(self, topic: str) -> Callable[[bytes], None]:
        return lambda data: self._add(bytes(data), time.time_ns(), topic, TF_TYPE)

    def _look(self) -> None:
        for topic, kinds in self._node.get_topic_names_and_types():
            space, _, last = topic.rpartition("/")
            if last == DESCRIPTION and STRING_TYPE in kinds and space not in self._robots:
                self._robots[space] = _Robot(self._node, space, self._add)
        tells = self._hears_tf and self._node.count_publishers(TF) > 0
        for robot in self._robots.values():
            robot.computes = not tells


class _Robot:
    """One robot: its description, and the newest positions of its joints."""

    def __init__(self, node: Node, space: str, add: Add) -> None:
        self.computes = True
        self._add = add
        self._topic = f"{space}/{DESCRIPTION}"
        self._prefix = frame_prefix(space)
        self._tree: LinkTree | None = None
        self._told_ns = self._told_odometry_ns = 0
        kinds = (String, JointState, Odometry)
        self._read = {kind: CheckedDeserializer(kind, _MOST_ITEMS) for kind in kinds}
        node.create_subscription(String, self._topic, self._describe, _LATCHED, raw=True)
        for name, kind, take in (
            ("joint_states", JointState, self._take_joints),
            ("odom", Odometry, self._take_odometry),
        ):
            node.create_subscription(kind, f"{space}/{name}", take, _LATEST, raw=True)

    def _describe(self, data: bytes) -> None:
        self._add(bytes(data), time.time_ns(), self._topic, STRING_TYPE)
        message = self._message(String, data)
        try:
            self._tree = LinkTree(message.data, self._topic) if message is not None else None
        except Refusal:
            self._tree = None  # it is recorded as it came

    def _take_joints(self, data: bytes) -> None:
        now_ns = time.time_ns()
        if self._tree is None or not self.computes or now_ns - self._told_ns < _LEAST_NS:
            return
        message = self._message(JointState, data)
        if message is None:
            return
        self._told_ns = now_ns
        positions = dict(zip(message.name, message.position, strict=False))
        poses = link_poses(self._tree, positions, self._prefix)
        self._write(message.header.stamp, poses)

    def _take_odometry(self, data: bytes) -> None:
        now_ns = time.time_ns()
        if not self.computes or now_ns - self._told_odometry_ns < _LEAST_NS:
            return
        message = self._message(Odometry, data)
        if message is not None:
            self._told_odometry_ns = now_ns
            self._write(message.header.stamp, [odometry_pose(message, self._prefix)])

    def _message(self, kind: Any, data: bytes) -> Any:
        try:
            return self._read[kind](bytes(data))
        except Unreadable:
            return None

    def _write(self, stamp: Any, poses: list[Pose]) -> None:
        stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
        self._add(write_transforms(stamp_ns, poses), time.time_ns(), TF, TF_TYPE)


def link_poses(tree: LinkTree, positions: Mapping[str, float], prefix: str) -> list[Pose]:
    """Return the pose of every link, with names that begin with `prefix`."""
    return [
        (prefix + one.parent, prefix + one.child, one.translation, one.rotation)
        for one in tree.transforms(positions)
    ]


def odometry_pose(message: Odometry, prefix: str) -> Pose:
    """Return the pose of the base in the frame of the odometry."""
    at, turn = message.pose.pose.position, message.pose.pose.orientation
    return (
        prefix + message.header.frame_id,
        prefix + message.child_frame_id,
        (at.x, at.y, at.z),
        (turn.x, turn.y, turn.z, turn.w),
    )
