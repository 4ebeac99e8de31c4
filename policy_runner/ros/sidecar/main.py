"""Process of the sidecar: starts the node, waits for a signal, ends cleanly within 2 s."""

from __future__ import annotations

import sys
import threading

from policy_runner.ros.process.lifetime import (
    end_on_signal,
    ignore_further_signals,
    prefer_udp,
    with_usable_log,
)
from policy_runner.ros.process.stderr import PrivateStderr

_END_S = 1.0


def main(args: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; 0, or 1 when a callback did not end in time."""
    prefer_udp()
    # rclpy's own handlers would shut the context down below the executor's feet.
    ended = end_on_signal()
    stderr = PrivateStderr()
    try:
        return _run(args, ended)
    finally:
        stderr.close()
        ignore_further_signals()


def _run(args: list[str] | None, ended: threading.Event) -> int:
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from policy_runner.ros.process.executor import ExecutorThread
    from policy_runner.ros.sidecar.node import JetsonDiagnostics

    arguments = with_usable_log(sys.argv if args is None else args)
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    node = JetsonDiagnostics()
    executor = ExecutorThread(node)
    node.start()
    executor.start()
    ended.wait()
    served = executor.stop(_END_S)
    node.stop()
    if served:
        node.destroy_node()
    rclpy.try_shutdown()
    return 0 if served else 1


if __name__ == "__main__":
    sys.exit(main())
