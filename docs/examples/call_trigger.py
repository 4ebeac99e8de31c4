"""`python call_trigger.py /policy_runner/arm`: `ros2 service call` where that is absent."""

from __future__ import annotations

import sys

import rclpy
from std_srvs.srv import Trigger


def main(service: str) -> int:
    """Call one service of type std_srvs/srv/Trigger; 0 when it was accepted."""
    rclpy.init()
    node = rclpy.create_node("call_trigger")
    client = node.create_client(Trigger, service)
    if not client.wait_for_service(timeout_sec=10.0):
        print(f"{service}: not there within 10 s")
        return 2
    answer = client.call_async(Trigger.Request())
    rclpy.spin_until_future_complete(node, answer, timeout_sec=10.0)
    result = answer.result()
    if result is None:
        print(f"{service}: no answer within 10 s")
        return 2
    print(f"success={result.success}, message='{result.message}'")
    return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
