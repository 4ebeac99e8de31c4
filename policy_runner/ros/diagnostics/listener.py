"""Receives `/diagnostics` for the terminal view, the demo and the recorder.

The subscriptions are raw: the recorder stores the bytes of each message.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from policy_runner.core.inputs.cdr import Unreadable
from policy_runner.ros.diagnostics.status import level_name, level_number
from policy_runner.ros.messages.raw_reader import CheckedDeserializer
from policy_runner.ros.process.executor import ExecutorThread

if TYPE_CHECKING:
    from policy_runner.ros.diagnostics.robots import Add

_MOST_VALUES = 65_536  # statuses and values of one message


def diagnostics_builder() -> Callable[[bytes], list[Any]]:
    """Return a function that converts a raw message of /diagnostics into its statuses.

    A damaged message gives an empty list. The messages are taken raw and checked first: on
    ROS 2 Kilted a damaged message ends the process when rclpy deserializes it.
    """
    build = CheckedDeserializer(DiagnosticArray, _MOST_VALUES)

    def statuses(data: bytes) -> list[Any]:
        try:
            return list(build(data).status)
        except Unreadable:
            return []

    return statuses


@dataclass(frozen=True)
class Row:
    """Newest status of one name; `heard_ns` is its arrival on the monotonic clock."""

    level: int
    message: str
    values: dict[str, str]
    hardware_id: str
    heard_ns: int


class DiagnosticsListener:
    """Keeps the newest status of each name; uses its own rclpy context and its own thread."""

    def __init__(
        self, on_raw: Callable[[bytes, int], None] | None = None, on_robot: Add | None = None
    ) -> None:
        """Subscribe and start the listener's thread.

        Args:
            on_raw: called as `on_raw(data, wall_ns)` in the listener's thread, with the CDR bytes
                of every message and its time of arrival [ns, wall clock].
            on_robot: the same for descriptions and transforms of robots, also with topic and type.
        """
        self._on_raw = on_raw
        self._rows: dict[str, Row] = {}
        self._build = diagnostics_builder()
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("policy_runner_monitor", context=self._context)
        self._node.create_subscription(
            DiagnosticArray,
            "/diagnostics",
            self._take,
            # Best effort matches every publisher and can never block a publisher.
            QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT),
            raw=True,
        )
        if on_robot is not None:
            # Here, because the sidecar uses this file, too, and does not need those messages.
            from policy_runner.ros.diagnostics.robots import RobotsListener

            self._robots = RobotsListener(self._node, on_robot)
        self._executor = ExecutorThread(self._node)
        self._executor.start()

    def rows(self) -> dict[str, Row]:
        """Return the newest status by name."""
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
        for status in self._build(data):
            values = {pair.key: pair.value for pair in status.values}
            row = Row(level_number(status.level), status.message, values, status.hardware_id, now)
            self._rows = {**self._rows, status.name: row}


class Watch:
    """Receives /diagnostics for the demo; uses its own rclpy context and its own thread."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, str]] = {}  # status name -> its newest values
        self.level: dict[str, str] = {}
        self.message: dict[str, str] = {}
        self.levels_seen: dict[str, list[str]] = {}
        self.first_ticks: tuple[float, int] | None = None
        self.last_ticks: tuple[float, int] | None = None
        self._noting_levels = True
        self._kept: frozenset[str] = frozenset()
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("policy_runner_demo", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._build = diagnostics_builder()
        self._node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=50), raw=True
        )
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="watch", daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while not self._ending.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def close(self) -> None:
        """Stop listening."""
        self._ending.set()
        self._thread.join(2.0)
        self._executor.shutdown(1.0)
        self._node.destroy_node()
        self._context.try_shutdown()

    def _on_diagnostics(self, data: bytes) -> None:
        for status in self._build(data):
            self._note(status)

    def _note(self, status: Any) -> None:
        name = str(status.name)
        if name in self._kept:
            return
        level = level_name(status.level)
        self.values[name] = {pair.key: pair.value for pair in status.values}
        self.level[name] = level
        self.message[name] = status.message
        seen = self.levels_seen.setdefault(name, [])
        if self._noting_levels and level not in seen:
            seen.append(level)
        if name == "policy_runner: loop":
            now = (time.monotonic(), int(self.values[name]["ticks"]))
            self.first_ticks = self.first_ticks or now
            self.last_ticks = now

    def freeze(self, keep_known: bool) -> None:
        """Stop recording levels, because the run has ended.

        Args:
            keep_known: also keep the present values of every known status, and ignore newer ones.
        """
        self._noting_levels = False
        if keep_known:
            self._kept = frozenset(self.values)

    def number(self, status: str, key: str) -> float | None:
        """Return one value as a number, or None while it is missing or not a number."""
        try:
            return float(self.values[status][key])
        except (KeyError, ValueError):
            return None
