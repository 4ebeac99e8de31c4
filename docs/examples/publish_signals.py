"""Plays signals (.npz) as messages at their rate: a robot for a dry run when no robot is here.

    python publish_signals.py SPEC SIGNALS.npz [SECONDS]

Publishes every input of the spec from the arrays that `policy-runner replay` reads too
(`joint_position`, `imu_orientation_xyzw`, `command`, ...), again from the start at their end.
It subscribes to nothing: whatever the policy commands, the same signals come.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Imu, JointState

from policy_runner import read_spec

TYPES = {
    f"{one.__module__.split('.')[0]}/msg/{one.__name__}": one
    for one in (Imu, JointState, Odometry, Twist, TwistStamped)
}


def fill(message: Any, signals: Any, k: int) -> None:
    """Write sample `k` into a message."""

    def write(vector: Any, key: str, axes: str) -> None:
        if key in signals:
            for axis, value in zip(axes, signals[key][k].tolist(), strict=True):
                setattr(vector, axis, value)

    if isinstance(message, JointState):
        message.name = signals["joint_state_names"].tolist()
        message.position = signals["joint_position"][k].tolist()
        message.velocity = signals["joint_velocity"][k].tolist()
    elif isinstance(message, Imu):
        write(message.orientation, "imu_orientation_xyzw", "xyzw")
        write(message.angular_velocity, "imu_angular_velocity", "xyz")
        write(message.linear_acceleration, "imu_linear_acceleration", "xyz")
    elif isinstance(message, Odometry):
        write(message.pose.pose.orientation, "imu_orientation_xyzw", "xyzw")
        write(message.twist.twist.linear, "base_linear_velocity", "xyz")
        write(message.twist.twist.angular, "imu_angular_velocity", "xyz")
    else:
        twist = message.twist if isinstance(message, TwistStamped) else message
        twist.linear.x, twist.linear.y, twist.angular.z = signals["command"][k].tolist()


def main(spec: str, file: str, seconds: float = float("inf")) -> None:
    """Publish until the time is over or Ctrl-C."""
    signals = dict(np.load(file))
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C is a KeyboardInterrupt
    node = rclpy.create_node("recorded_robot")
    outputs = []
    for one in read_spec(spec).spec.inputs.values():
        kind = TYPES[one.type]
        outputs.append((node.create_publisher(kind, one.topic, 10), kind()))
    period_s, count = float(signals["control_dt"]), len(signals["command"])
    begin, tick = time.monotonic(), 0
    print(f"{count} samples, one every {period_s:g} s, to {len(outputs)} topics", flush=True)
    while tick * period_s < seconds:
        for publisher, message in outputs:
            fill(message, signals, tick % count)
            if hasattr(message, "header"):
                message.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(message)
        tick += 1
        time.sleep(max(0.0, begin + tick * period_s - time.monotonic()))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:3], *map(float, sys.argv[3:]))
