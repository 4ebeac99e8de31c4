"""The process of the `policy_runner` node: what comes before ROS, and how it ends.

rclpy's own signal handlers shut the context down first, and the last command is lost. Here
the main thread waits for a signal; then the control thread sends the defined last command
and waits for its acknowledgement; then executor, node and context go, in under 2 s.
"""

from __future__ import annotations

import os
import sys
import time

from policy_runner.ros.process.lifetime import (
    ENDED_WELL,
    GONE_WITHIN_S,
    NOT_IN_TIME,
    START_REFUSED,
    EndRequest,
    end_on_signal,
    force_end_after,
    ignore_further_signals,
    prefer_udp,
)
from policy_runner.ros.process.stderr import PrivateStderr

NODE_NAME = "policy_runner"
_END_WITHIN_S = 1.6


def main(args: list[str] | None = None) -> int:
    """Run until a signal asks for the end; the exit code says why it ended so (`lifetime`)."""
    arguments = sys.argv if args is None else ["policy_runner", *args]
    ended = end_on_signal(at_once=True)
    stderr = PrivateStderr()
    try:
        code = _run(arguments, ended)
    finally:
        stderr.close()
        ignore_further_signals()
    if code == NOT_IN_TIME:
        # A thread that hangs in ROS would abort the interpreter while it finalizes.
        os._exit(code)
    return code


def _run(arguments: list[str], ended: EndRequest) -> int:
    from policy_runner.robot.parameter_files import early_value
    from policy_runner.ros.process.realtime import prepare_process

    def early(key: str, default: object) -> object:
        return early_value(arguments, NODE_NAME, key, default)

    # Before rclpy.init: its threads inherit scheduling and cores. A value of a wrong type is
    # left to the node, which says so.
    priority = early("realtime.priority", 0)
    affinity = early("realtime.cpu_affinity", [])
    granted = prepare_process(
        priority if isinstance(priority, int) and 0 <= priority <= 98 else 0,
        [cpu for cpu in affinity if isinstance(cpu, int)] if isinstance(affinity, list) else [],
        early("realtime.lock_memory", False) is True,
    )

    prefer_udp()

    import rclpy

    from policy_runner.ros.process.executor import ExecutorThread
    from policy_runner.ros.process.start import start_ros
    from policy_runner.ros.runner.node import PolicyRunner

    ended.at_once = False
    if ended.is_set():
        return ENDED_WELL
    if not start_ros(NODE_NAME, arguments):
        return START_REFUSED
    node = PolicyRunner(granted, arguments)
    executor = ExecutorThread(node)
    if not ended.is_set():
        executor.start()
        ended.wait()
    # Bounded together, so that it is gone within 2 s: what one does not need is the other's, such
    # as an executor's that is still importing and configuring.
    begin = time.monotonic()
    force_end_after(GONE_WITHIN_S)
    stopped = node.end(timeout_s=0.8)
    left_s = _END_WITHIN_S - (time.monotonic() - begin)
    served = executor.stop(timeout_s=max(0.2, left_s / 2))  # which takes it twice at most
    if not (stopped and served):
        return NOT_IN_TIME
    code = node.exit_code
    node.free()
    node.destroy_node()
    rclpy.try_shutdown()
    return code


if __name__ == "__main__":
    sys.exit(main())
