"""The process of the `policy_runner` node: its start before ROS, and its end.

rclpy's own signal handlers would shut the context down first and lose the last command. Here
the main thread waits for a signal. Then the control thread sends the defined last command and
waits for its acknowledgement. Then executor, node and context end, all in under 2 s.
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
)
from policy_runner.ros.process.stderr import PrivateStderr
from policy_runner.ros.process.transport import prefer_udp
from policy_runner.ros.process.usage import answered

NODE_NAME = "policy_runner"
_END_WITHIN_S = 1.6
_WHAT = (
    "The control node: runs a trained policy at a fixed rate, and decides in every tick whether\n"
    "it may command. Without the parameter `autostart` it starts unconfigured."
)


def main(args: list[str] | None = None) -> int:
    """Run until a signal asks for the end; returns an exit code of `lifetime`."""
    arguments = sys.argv if args is None else [NODE_NAME, *args]
    if (status := answered(NODE_NAME, arguments, _WHAT)) is not None:
        return status
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

    # Before rclpy.init, because its threads inherit scheduling and cores. A value of a wrong type
    # is ignored here; the node reports it.
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
    node.ask_for_end = ended.set
    executor = ExecutorThread(node)
    if not ended.is_set():
        executor.start()
        ended.wait()
    # Loop and executor share one time limit, so that the process ends within 2 s: the executor
    # gets the time that the loop did not need. It may still be importing and configuring.
    begin = time.monotonic()
    force_end_after(GONE_WITHIN_S)
    stopped = node.end(timeout_s=0.8)
    left_s = _END_WITHIN_S - (time.monotonic() - begin)
    served = executor.stop(timeout_s=max(0.2, left_s / 2))  # waits twice, each at most this long
    if not (stopped and served):
        return NOT_IN_TIME
    code = node.exit_code
    node.free()
    node.destroy_node()
    rclpy.try_shutdown()
    return code


if __name__ == "__main__":
    sys.exit(main())
