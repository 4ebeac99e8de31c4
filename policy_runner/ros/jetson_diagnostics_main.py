"""Process of the sidecar: starts the node, waits for a signal, ends cleanly within 2 s."""

from __future__ import annotations

import signal
import sys
import threading

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from policy_runner.ros.jetson_diagnostics import JetsonDiagnostics

_JOIN_S = 1.0


def spin(executor: Executor, stop: threading.Event, node: JetsonDiagnostics) -> None:
    """Spin until `stop`; a callback that raises is logged and the executor goes on."""
    while not stop.is_set():
        try:
            executor.spin()
        except ExternalShutdownException:
            return
        except Exception as error:  # noqa: BLE001 - one bad callback must not end diagnostics
            node.get_logger().error(
                f"callback failed: {type(error).__name__}: {error}",
                throttle_duration_sec=10.0,
            )


def main(args: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; returns 0."""
    stop = threading.Event()
    # rclpy's own handlers would shut the context down below the executor's feet.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node = JetsonDiagnostics()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=spin, args=(executor, stop, node), name="executor")
    node.start()
    thread.start()
    stop.wait()
    executor.shutdown(_JOIN_S)
    thread.join(_JOIN_S)
    node.stop()
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
