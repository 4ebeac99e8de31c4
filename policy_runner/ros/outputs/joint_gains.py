"""Publishes `~/joint_gains`: the policy's training gains, latched, by robot joint name."""

from __future__ import annotations

import array
from collections.abc import Mapping

from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Float64MultiArray, MultiArrayDimension

from policy_runner.core.inputs.joints import RobotJoint
from policy_runner.core.spec import PolicySpec
from policy_runner.core.spec.elements import absent_joints
from policy_runner.core.spec.named_numbers import by_name
from policy_runner.ros.messages.topics import Publishers


def publish_gains(
    topics: Publishers, spec: PolicySpec, file: str, robot: Mapping[str, RobotJoint]
) -> Publisher | None:
    """Publish the gains once, transient local; return None if the spec has no gains.

    The message is a Float64MultiArray [joints, 2], row by row: stiffness [N m/rad], damping
    [N m s/rad]. The label of the first dimension lists the joints, the label of the second
    dimension lists the columns.

    Args:
        topics: creates the publisher.
        spec: the policy's spec.
        file: path of the spec file, for errors.
        robot: policy joint name -> joint of the robot.
    """
    if spec.stiffness is None and spec.damping is None:
        return None
    absent = absent_joints(spec, file)
    names = [name for name in spec.joint_names if name not in absent]
    there = [spec.joint_names.index(name) for name in names]
    columns = [
        by_name(given if given is not None else 0.0, spec.joint_names, file, key)[there].tolist()
        for key, given in (("stiffness", spec.stiffness), ("damping", spec.damping))
    ]
    rows = [value for pair in zip(*columns, strict=True) for value in pair]
    message = Float64MultiArray(data=array.array("d", rows))
    joints = ",".join(robot[name].name for name in names)
    message.layout.dim = [
        MultiArrayDimension(label=joints, size=len(names), stride=2 * len(names)),
        MultiArrayDimension(label="stiffness,damping", size=2, stride=2),
    ]
    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = topics.create_publisher(Float64MultiArray, "~/joint_gains", qos)
    publisher.publish(message)
    return publisher


def gains_sentence(
    spec: PolicySpec, gains: Mapping[str, Mapping[str, float]], robot: Mapping[str, RobotJoint]
) -> str:
    """Return the training gains as a sentence, for the log.

    Args:
        spec: the policy's spec.
        gains: robot joint name -> "stiffness" or "damping" -> gain.
        robot: policy joint name -> joint of the robot.
    """
    equal: dict[str, list[str]] = {}
    absent = absent_joints(spec, "")
    for name in (one for one in spec.joint_names if one not in absent):
        of = gains.get(robot[name].name, {})
        pair = (of.get("stiffness"), of.get("damping"))
        text = " and ".join("-" if gain is None else f"{gain:g}" for gain in pair)
        equal.setdefault(text, []).append(name)
    each = [
        f"{text} ({f'{len(names)} joints: ' if len(names) > 1 else ''}{', '.join(names)})"
        for text, names in equal.items()
    ]
    return (
        f"{spec.name} was trained with stiffness and damping {', '.join(each)}: "
        "make sure that the robot's joints use them (~/joint_gains)"
    )
