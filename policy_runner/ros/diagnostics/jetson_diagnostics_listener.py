"""Listens on `/diagnostics` for the terminal view and the recorder; raw, so that it can keep it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions

from policy_runner.ros.diagnostics.status import level_number
from policy_runner.ros.process.executor_thread import ExecutorThread


@dataclass(frozen=True)
class Row:
    """Newest status of one name; `heard_ns` is monotonic."""

    level: int
    message: str
    values: dict[str, str]
    hardware_id: str
    heard_ns: int


class DiagnosticsListener:
    """Keeps the newest status by name, in a context and a thread of its own.

    `on_raw(data, wall_ns)` gets every message as it came (CDR), in the listener's thread.
    """

    def __init__(self, on_raw: Callable[[bytes, int], None] | None = None) -> None:
        self._on_raw = on_raw
        self._rows: dict[str, Row] = {}
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("policy_runner_monitor", context=self._context)
        self._node.create_subscription(
            DiagnosticArray,
            "/diagnostics",
            self._take,
            # Best effort hears every publisher and can never hold one up.
            QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT),
            raw=True,
        )
        self._executor = ExecutorThread(self._node)
        self._executor.start()

    def rows(self) -> dict[str, Row]:
        """Newest status by name, at this moment."""
        return dict(self._rows)

    def close(self) -> None:
        """Stop listening."""
        if self._executor.stop(1.0):
            self._node.destroy_node()
        self._context.try_shutdown()

    def _take(self, data: bytes) -> None:
        if self._on_raw is not None:
            self._on_raw(data, time.time_ns())
        now = time.monotonic_ns()
        for status in deserialize_message(data, DiagnosticArray).status:
            values = {pair.key: pair.value for pair in status.values}
            row = Row(level_number(status.level), status.message, values, status.hardware_id, now)
            self._rows = {**self._rows, status.name: row}
