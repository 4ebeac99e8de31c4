"""Publish `false` on a topic of the emergency stop until the process is ended.

    python estop_flood.py TOPIC RATE_HZ

Prints "publishing" once a subscriber receives it.
"""

from __future__ import annotations

import signal
import sys
import time


def main() -> None:
    import rclpy
    from rclpy.signals import SignalHandlerOptions
    from std_msgs.msg import Bool

    topic, rate = sys.argv[1], float(sys.argv[2])
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: ended.append(number))
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("estop_flood")
    publisher = node.create_publisher(Bool, topic, 10)
    while not publisher.get_subscription_count() and not ended:
        time.sleep(0.01)
    sys.stdout.write("publishing\n")
    sys.stdout.flush()
    message, begin, count = Bool(data=False), time.monotonic(), 0
    while not ended:
        due = (time.monotonic() - begin) * rate
        if count < due - rate:
            count = round(due)  # the machine was too busy: do not send them all at once
        while count < due and not ended:
            publisher.publish(message)
            count += 1
        time.sleep(0.0003)
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
