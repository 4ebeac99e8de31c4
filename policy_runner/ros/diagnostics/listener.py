"""What the demo sees of a run: the statuses on /diagnostics and the robot's own figures."""

from __future__ import annotations

import threading
import time
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions

from policy_runner.ros.diagnostics.status import level_name


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
        self._node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=50)
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

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
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
