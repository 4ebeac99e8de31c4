"""The sidecar's process: starts the node, waits for a signal, ends cleanly within 2 s."""

from __future__ import annotations

import sys

from policy_runner.ros.process.lifetime import (
    ENDED_WELL,
    GONE_WITHIN_S,
    START_REFUSED,
    EndRequest,
    end_on_signal,
    force_end_after,
    ignore_further_signals,
)
from policy_runner.ros.process.stderr import PrivateStderr
from policy_runner.ros.process.transport import prefer_udp
from policy_runner.ros.process.usage import answered

NODE_NAME = "jetson_diagnostics"
_END_S = 0.7  # the executor uses this timeout at most twice
_HUNG = 1  # a callback did not end in time
_WHAT = "The sidecar: reports the state of the computer and of the runner on /diagnostics."


def main(args: list[str] | None = None) -> int:
    """Run until a signal comes.

    Returns:
        The exit status: 0; 1 if a callback did not end in time; 2 for wrong arguments.
    """
    arguments = sys.argv if args is None else [NODE_NAME, *args]
    if (status := answered(NODE_NAME, arguments, _WHAT)) is not None:
        return status
    # rclpy's own handlers would shut the context down while the executor still uses it.
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

    from policy_runner.ros.process.executor import ExecutorThread
    from policy_runner.ros.process.start import start_ros
    from policy_runner.ros.sidecar.node import JetsonDiagnostics

    ended.at_once = False
    if ended.is_set():
        return ENDED_WELL
    if not start_ros(NODE_NAME, arguments):
        return START_REFUSED
    node = JetsonDiagnostics()
    executor = ExecutorThread(node)
    node.start()
    executor.start()
    ended.wait()
    force_end_after(GONE_WITHIN_S, _HUNG)
    served = executor.stop(_END_S)
    node.stop()
    if served:
        node.destroy_node()
    rclpy.try_shutdown()
    return ENDED_WELL if served else _HUNG


if __name__ == "__main__":
    sys.exit(main())
