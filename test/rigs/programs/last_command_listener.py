"""A robot in its own process: publishes joint states, prints every change of a command.

    python last_command_listener.py NUMBER_OF_TOPICS

Receives /run0/joint_commands, /run1/..., and prints number, left, right of every change, and of
every 25th message.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any


def main() -> None:
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from sensor_msgs.msg import JointState

    rclpy.init()
    node = rclpy.create_node("robot")
    last: dict[int, tuple[float, ...]] = {}
    counts: Counter[int] = Counter()

    def heard(number: int, message: Any) -> None:
        values = tuple(message.velocity)
        counts[number] += 1
        if last.get(number) != values or counts[number] % 25 == 0:
            last[number] = values
            sys.stdout.write(f"{number} {values[0]} {values[1]}\n")
            sys.stdout.flush()

    for number in range(int(sys.argv[1])):
        node.create_subscription(
            JointState, f"/run{number}/joint_commands", lambda m, n=number: heard(n, m), 10
        )
    publisher = node.create_publisher(JointState, "/joint_states", 10)
    message = JointState(name=["right_joint", "left_joint"], velocity=[-2.0, 1.0])
    node.create_timer(0.01, lambda: publisher.publish(message))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
