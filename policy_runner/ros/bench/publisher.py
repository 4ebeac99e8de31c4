"""The robot of a benchmark: publishes a policy's inputs at a fixed rate, from its own process.

Header stamps are on the monotonic clock, which all processes of a machine share. So the age of an
input at its use can be measured, including the time in the middleware.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from policy_runner.core.inputs.text import STRING
from policy_runner.core.spec import PolicySpec, read_spec
from policy_runner.core.spec.named_numbers import by_name
from policy_runner.robot.values import NODE
from policy_runner.ros.messages.types import message_class
from policy_runner.ros.process.lifetime import end_on_signal
from policy_runner.ros.process.realtime import Granted, prepare_control_thread

_JOY_ELEMENTS = 64  # axes and buttons: more than a joystick has


def example_messages(spec: PolicySpec) -> list[tuple[str, Any]]:
    """Return topic and a plausible message per input: upright, default pose, standing still."""
    import array

    messages = []
    for name, given in spec.inputs.items():
        message = message_class(given.type, f"inputs.{name}.type")()
        if given.type == "sensor_msgs/msg/JointState":
            given_pose = spec.default_joint_pos
            pose = (
                by_name(given_pose, spec.joint_names, str(name), "default_joint_pos").tolist()
                if given_pose is not None
                else [0.0] * len(spec.joint_names)
            )
            message.name = list(spec.joint_names)
            message.position = array.array("d", pose)
            message.velocity = array.array("d", [0.0] * len(pose))
            message.effort = array.array("d", [0.0] * len(pose))
        elif given.type == "sensor_msgs/msg/Imu":
            message.orientation.w = 1.0
            message.linear_acceleration.z = 9.81
        elif given.type == "sensor_msgs/msg/Joy":
            message.axes = array.array("f", [0.0] * _JOY_ELEMENTS)
            message.buttons = array.array("i", [0] * _JOY_ELEMENTS)
        elif given.type == STRING:
            message.data = "go"
        # The runner's private topics, such as ~/prompt, are not those of this node.
        messages.append((given.topic.replace("~", NODE, 1), message))
    return messages


def main(argv: list[str] | None = None) -> int:
    """Publish until a signal."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--priority", type=int, default=0)
    options = parser.parse_args(argv)
    ended = end_on_signal()
    messages = example_messages(read_spec(options.spec).spec)
    prepare_control_thread(options.priority, Granted())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("bench_publisher")
    outputs = [(node.create_publisher(type(m), topic, 10), m) for topic, m in messages]
    period_ns = round(1e9 / options.rate)
    deadline = time.monotonic_ns()
    while not ended.is_set():
        deadline = max(deadline + period_ns, time.monotonic_ns() - period_ns)
        ahead = deadline - time.monotonic_ns()
        if ahead > 0:
            time.sleep(ahead / 1e9)
        for publisher, message in outputs:
            header = getattr(message, "header", None)
            if header is not None:
                now = time.monotonic_ns()
                header.stamp.sec, header.stamp.nanosec = divmod(now, 1_000_000_000)
            publisher.publish(message)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
