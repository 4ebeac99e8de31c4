"""The runner with the usual way of writing a process: rclpy's own signal handlers.

They shut the context down before the runner can publish its last command; a test shows this.
"""

from __future__ import annotations

import contextlib
import sys


def main() -> int:
    import rclpy
    from rclpy.executors import ExternalShutdownException

    from policy_runner.ros.runner.node import PolicyRunner

    rclpy.init(args=sys.argv)
    node = PolicyRunner(arguments=sys.argv)
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)
    stopped = node.end(timeout_s=1.0)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0 if stopped else 1


if __name__ == "__main__":
    sys.exit(main())
