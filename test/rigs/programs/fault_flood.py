"""Publish JointStates much faster than the loop ticks.

    python fault_flood.py TOPIC RATE_HZ SECONDS

Prints the rate that was reached.
"""

from __future__ import annotations

import sys
import time


def main() -> None:
    import rclpy
    from sensor_msgs.msg import JointState

    topic, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    rclpy.init()
    node = rclpy.create_node("flood")
    publisher = node.create_publisher(JointState, topic, 10)
    message = JointState(name=["left_joint", "right_joint"], velocity=[1.0, -2.0])
    end = time.monotonic() + 10.0
    while not publisher.get_subscription_count() and time.monotonic() < end:
        time.sleep(0.01)
    sys.stdout.write("publishing\n")
    sys.stdout.flush()
    begin = time.monotonic()
    count = 0
    while (passed := time.monotonic() - begin) < seconds:
        while count < passed * rate:
            publisher.publish(message)
            count += 1
        time.sleep(0.0002)
    sys.stdout.write(f"{count / passed}\n")
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
