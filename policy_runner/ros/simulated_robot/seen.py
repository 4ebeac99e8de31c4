"""What shows a simulated robot: its description, and /tf where `tf2_msgs` is installed."""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from policy_runner.robot.transforms import LinkTree
from policy_runner.ros.diagnostics.robots import DESCRIPTION, TF, frame_prefix, tf_message
from policy_runner.ros.simulated_robot.sensor_messages import set_stamp
from policy_runner.sim.plant.plant import Plant
from policy_runner.sim.robot_file.robot_reader import read_description

_LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class RobotSeen:
    """Publishes robot_description once, and the transforms with every state."""

    def __init__(self, node: Node, plant: Plant, odometry: Odometry | None = None) -> None:
        """Publish the description, if the robot has one.

        Args:
            node: gets the publishers.
            plant: the robot.
            odometry: names the frames of the world and of the base; None: world, and the body.

        Raises:
            Refusal: the description is no URDF.
        """
        self._plant = plant
        text = read_description(plant.robot)
        links = LinkTree(text, plant.file).fixed() if text else []
        if text:
            self._description = node.create_publisher(String, DESCRIPTION, _LATCHED)
            self._description.publish(String(data=text))
        kind = tf_message()
        self._publisher: Any = None
        if kind is None:
            return
        self._publisher = node.create_publisher(kind, TF, QoSProfile(depth=100))
        self._message = kind()
        self._pairs: list[tuple[str, str, TransformStamped]] = []
        self._prefix = frame_prefix(node.get_namespace())
        self._add_bodies(odometry)
        known = {one.child_frame_id for one in self._message.transforms}
        # Such as a sensor's frame: a link of the description that the model has no body for.
        for link in links:
            if self._prefix + link.child not in known:
                _set_pose(self._added(link.parent, link.child), link.translation, link.rotation)

    def _add_bodies(self, odometry: Odometry | None) -> None:
        model, called = self._plant.model, {}
        if odometry is not None:
            frames = odometry.header.frame_id, odometry.child_frame_id
            called = dict(zip(("world", self._plant.base), frames))
        for k in range(1, model.nbody):
            body, parent = model.body(k).name, model.body(int(model.body_parentid[k])).name
            one = self._added(called.get(parent, parent), called.get(body, body))
            self._pairs.append((parent, body, one))

    def _added(self, parent: str, child: str) -> TransformStamped:
        one = TransformStamped()
        one.header.frame_id, one.child_frame_id = self._prefix + parent, self._prefix + child
        self._message.transforms.append(one)
        return one

    def publish(self, stamp_ns: int) -> None:
        """Publish the pose of every body in its parent, if `tf2_msgs` is installed."""
        if self._publisher is None:
            return
        for one in self._message.transforms:
            set_stamp(one.header.stamp, stamp_ns)
        for parent, body, one in self._pairs:
            place, turn = self._plant.read.relative_pose(body, parent)
            _set_pose(one, place.tolist(), turn.tolist())
        self._publisher.publish(self._message)


def _set_pose(one: TransformStamped, place: Any, turn: Any) -> None:
    at, q = one.transform.translation, one.transform.rotation
    at.x, at.y, at.z = place
    q.x, q.y, q.z, q.w = turn
