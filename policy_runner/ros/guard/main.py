"""The guard's process: looks every 20 ms, ends on a signal, and sends no command at its end."""

from __future__ import annotations

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

NODE_NAME = "policy_runner_guard"
_LOOK_S = 0.02
_WHAT = "The guard of a runner: sends the stops when the runner's heartbeat falls silent."


def main(args: list[str] | None = None) -> int:
    """Run until a signal asks for the end; returns 0, or 2 for wrong arguments."""
    arguments = sys.argv if args is None else [NODE_NAME, *args]
    if (status := answered(NODE_NAME, arguments, _WHAT)) is not None:
        return status
    ended = end_on_signal(at_once=True)
    prefer_udp()
    stderr = PrivateStderr()
    try:
        return _run(arguments, ended)
    finally:
        stderr.close()
        ignore_further_signals()


def _run(arguments: list[str], ended: EndRequest) -> int:
    import rclpy

    from policy_runner.ros.guard.node import Guard
    from policy_runner.ros.process.start import start_ros

    ended.at_once = False
    if ended.is_set():
        return ENDED_WELL
    if not start_ros(NODE_NAME, arguments):
        return START_REFUSED
    guard = Guard()
    while not ended.wait(_LOOK_S):
        guard.look(time.monotonic_ns())
    force_end_after(GONE_WITHIN_S, NOT_IN_TIME)
    guard.destroy_node()
    rclpy.try_shutdown()
    return ENDED_WELL


if __name__ == "__main__":
    sys.exit(main())
