"""Listens on `/diagnostics` for the terminal view and the recorder; raw, so that it can keep it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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

_MOST_VALUES = 65_536  # statuses and values of one message


def diagnostics_builder() -> Callable[[bytes], list[Any]]:
    """What makes the statuses of a raw message of /diagnostics; none of a damaged one.

    Raw, since a damaged message ends the process on ROS 2 Kilted where rclpy builds it.
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
        self._build = diagnostics_builder()
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
        for status in self._build(data):
            values = {pair.key: pair.value for pair in status.values}
            row = Row(level_number(status.level), status.message, values, status.hardware_id, now)
            self._rows = {**self._rows, status.name: row}


class Watch:
    """Listens on /diagnostics in a thread of its own, in a context of its own."""

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
        """The run is over: levels are no longer noted, nor, with `keep_known`, newer figures."""
        self._noting_levels = False
        if keep_known:
            self._kept = frozenset(self.values)

    def number(self, status: str, key: str) -> float | None:
        """One value as a number; None while it is not there."""
        try:
            return float(self.values[status][key])
        except (KeyError, ValueError):
            return None
