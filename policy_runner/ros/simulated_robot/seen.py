"""What shows the simulated robot: its description, and /tf where `tf2_msgs` is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from policy_runner.robot.transforms import LinkTree
from policy_runner.ros.diagnostics.robots import (
    DESCRIPTION,
    TF,
    frame_prefix,
    link_poses,
    odometry_pose,
    tf_message,
)
from policy_runner.sim import balancer

_LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


def balancer_urdf() -> str:
    """Return the description of the simulated robot."""
    return Path(balancer.__file__).with_name("balancer.urdf").read_text("utf-8")


class RobotSeen:
    """Publishes robot_description once, and with every state the transforms."""

    def __init__(self, node: Node) -> None:
        """Publish the description; `node` gets the publishers."""
        text = balancer_urdf()
        self._prefix = frame_prefix(node.get_namespace())
        self._tree = LinkTree(text, "balancer.urdf")
        self._description = node.create_publisher(String, DESCRIPTION, _LATCHED)
        self._description.publish(String(data=text))
        self._kind = tf_message()
        self._transforms: Any = None
        if self._kind is not None:
            self._transforms = node.create_publisher(self._kind, TF, QoSProfile(depth=100))

    def publish(self, joints: JointState, odometry: Odometry) -> None:
        """Publish where the links are, if `tf2_msgs` is installed."""
        if self._transforms is None:
            return
        positions = dict(zip(joints.name, joints.position, strict=True))
        poses = [
            odometry_pose(odometry, self._prefix),
            *link_poses(self._tree, positions, self._prefix),
        ]
        message = self._kind()
        for parent, child, place, turn in poses:
            one = TransformStamped()
            one.header.stamp = joints.header.stamp
            one.header.frame_id, one.child_frame_id = parent, child
            at, rotation = one.transform.translation, one.transform.rotation
            at.x, at.y, at.z = place
            rotation.x, rotation.y, rotation.z, rotation.w = turn
            message.transforms.append(one)
        self._transforms.publish(message)
