"""Process of the guard: looks every 20 ms, ends on a signal, sends nothing at its end."""

from __future__ import annotations

import sys
import threading
import time

from policy_runner.ros.process.lifetime import (
    end_on_signal,
    ignore_further_signals,
    prefer_udp,
    with_usable_log,
)
from policy_runner.ros.process.stderr import PrivateStderr

_LOOK_S = 0.02


def main(args: list[str] | None = None) -> int:
    """Run until a signal to end; 0."""
    prefer_udp()
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

    from policy_runner.ros.guard.node import Guard

    arguments = with_usable_log(sys.argv if args is None else args)
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    guard = Guard()
    while not ended.wait(_LOOK_S):
        guard.look(time.monotonic_ns())
    guard.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
