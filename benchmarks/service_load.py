"""A second process that keeps the runner's executor busy: parameter services, diagnostics, reload.

It calls get, describe and set (a live threshold, always the same value) in turn at a given rate,
subscribes to /diagnostics, and calls `~/reload` once after some seconds. At the end it prints the
numbers of answers.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

NODE = "/policy_runner"
NAME = "safety.hold_recover"


class Caller(Node):
    """Sends one request per timer period, in turn, without waiting for the answers."""

    def __init__(self, rate: float, reload_after_s: float) -> None:
        super().__init__("service_load")
        self.answers = self.refusals = self.reports = 0
        self.reloaded = "not asked for"
        value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=0.2)
        setting = SetParameters.Request(parameters=[Parameter(name=NAME, value=value)])
        self._asked = [
            (
                self.create_client(GetParameters, f"{NODE}/get_parameters"),
                GetParameters.Request(names=[NAME]),
            ),
            (
                self.create_client(DescribeParameters, f"{NODE}/describe_parameters"),
                DescribeParameters.Request(names=[NAME]),
            ),
            (self.create_client(SetParameters, f"{NODE}/set_parameters"), setting),
        ]
        self._turn = 0
        self._reload = self.create_client(Trigger, f"{NODE}/reload")
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self.create_timer(1.0 / rate, self._ask)
        if reload_after_s > 0.0:
            self._once = self.create_timer(reload_after_s, self._ask_reload)

    def _on_diagnostics(self, _message: DiagnosticArray) -> None:
        self.reports += 1

    def _ask(self) -> None:
        client, request = self._asked[self._turn % len(self._asked)]
        self._turn += 1
        if client.service_is_ready():
            client.call_async(request).add_done_callback(self._answered)

    def _answered(self, future: object) -> None:
        self.answers += 1
        results = getattr(future.result(), "results", [])  # type: ignore[attr-defined]
        self.refusals += any(not result.successful for result in results)

    def _ask_reload(self) -> None:
        self._once.cancel()
        asked = time.monotonic()

        def told(future: object) -> None:
            answer = future.result()  # type: ignore[attr-defined]
            took_s = time.monotonic() - asked
            self.reloaded = f"success={answer.success} in {took_s:.2f} s: {answer.message}"

        self._reload.call_async(Trigger.Request()).add_done_callback(told)


def main() -> int:
    """Run until SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=85.0)
    parser.add_argument("--reload-after", type=float, default=0.0)
    options = parser.parse_args()
    ended: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: ended.append(number))
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Caller(options.rate, options.reload_after)
    begun = time.monotonic()
    while not ended:
        rclpy.spin_once(node, timeout_sec=0.1)
    seconds = time.monotonic() - begun
    print(
        f"service load: {node.answers / seconds:.1f} answers/s, {node.refusals} refusals, "
        f"{node.reports} diagnostics, reload {node.reloaded}",
        flush=True,
    )
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
