"""The sidecar node: publishes host readings, joined with the runner's statuses."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from policy_runner.ros.diagnostics.listener import diagnostics_builder
from policy_runner.ros.diagnostics.source import status_source
from policy_runner.ros.diagnostics.status import LEVEL_WARN, level_number
from policy_runner.ros.parameters.declared import declare_table
from policy_runner.ros.parameters.unknown_names import RefusesUnknownNames
from policy_runner.ros.sidecar.command_watch import CommandWatch
from policy_runner.ros.sidecar.parameters import PARAMETERS
from policy_runner.telemetry.groups import make_groups
from policy_runner.telemetry.host.identity import read_identity
from policy_runner.telemetry.host_files import HostFiles, read_bytes
from policy_runner.telemetry.runner.joined_status import join
from policy_runner.telemetry.runner.runner_statuses import PARTS, RunnerStatuses
from policy_runner.telemetry.sampler import Sampler
from policy_runner.telemetry.verdict import ERROR, Verdict

# Check for the runner's silence more often than messages are published, to find it within 2 s.
_WATCH_S = 0.25
_DRAIN_EVERY = 2  # checks; one timer for both, because each wake-up of the executor costs 0.3 ms


class JetsonDiagnostics(RefusesUnknownNames, Node):
    """Publishes one status for each group and one for the policy on `/diagnostics`.

    The sampler's threads read the host and cache the readings. Callbacks only format the cached
    readings; the executor never reads a file. Call `start` after construction and `stop` before
    destruction.
    """

    def __init__(self, read: Callable[[str], bytes] = read_bytes, **node_options: Any) -> None:
        """Create the node.

        Args:
            read: reads a file; tests replace it.
            **node_options: passed to `rclpy.node.Node`.
        """
        super().__init__("jetson_diagnostics", **node_options)
        self._table = declare_table(self, PARAMETERS)
        values = self._table.values()
        for problem in self._table.problems:
            self.get_logger().warning(f"{problem}; the default stands in")
        files = HostFiles(values["root"], read)
        self._groups = make_groups(files, values, read_identity(files))
        self._source = status_source(self, values, files)
        namespace = self.get_namespace() if self._source.is_full else ""
        self._statuses = RunnerStatuses(values["policy.runner"], namespace)
        self._looks_like_runner = re.compile(
            re.escape(values["policy.runner"].strip("/").encode()) + PARTS
        ).search
        self._silent = False
        self._host: dict[str, Verdict] = {}
        self._sampler = Sampler(
            {name: group.read for name, group in self._groups.items()},
            period_ns=int(values["period"] * 1e9),
            deadline_ns=int(values["read_deadline"] * 1e9),
        )
        self._output = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._build = diagnostics_builder()
        # Best effort matches every publisher and can never block a publisher.
        self.create_subscription(
            DiagnosticArray,
            "/diagnostics",
            self._on_diagnostics,
            QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT),
            raw=True,
        )
        # Steady time: the host still gets hot while a simulator with use_sim_time is paused.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(values["period"], self.publish_all, clock=steady)
        self.create_timer(_WATCH_S, self._watch, clock=steady)
        self._command: CommandWatch | None = None
        self._watches = 0
        if values["policy.command_topic"]:
            self._command = CommandWatch(self, values["policy.command_topic"])

    def start(self) -> None:
        """Start to read the host."""
        self._sampler.start()

    def stop(self) -> list[str]:
        """End the reading threads; return the groups whose read hangs."""
        return self._sampler.stop()

    def publish_all(self) -> None:
        """Publish one message with every status, from the cached readings."""
        parameters = self._table.values()
        self._host = {
            name: group.verdict(self._sampler.sample(name), parameters)
            for name, group in self._groups.items()
        }
        self._publish({**self._host, "policy": self._joined()})

    def _watch(self) -> None:
        """Take the waiting commands; publish the joined view at once when the runner is silent."""
        self._watches += 1
        if self._command is not None and self._watches % _DRAIN_EVERY == 0:
            self._command.drain()
        joined = self._joined()
        silent = joined.level == ERROR
        if silent and not self._silent:
            self._publish({"policy": joined})
        self._silent = silent

    def _joined(self) -> Verdict:
        command = self._command.reading() if self._command else None
        now_ns = time.monotonic_ns()
        silences = (self._table.value(f"policy.{name}silence") for name in ("", "command_"))
        silence_ns, command_silence_ns = (int(silence * 1e9) for silence in silences)
        joined = join(self._statuses, self._host, now_ns, silence_ns, command, command_silence_ns)
        problems = self._table.problems
        values = {**joined.values, "parameter problems": "; ".join(problems) or "none"}
        if not problems:
            return Verdict(joined.level, joined.message, values)
        message = f"{joined.message}; default instead of a bad {problems[0]}"
        return Verdict(max(joined.level, LEVEL_WARN), message, values)

    def _publish(self, verdicts: dict[str, Verdict]) -> None:
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        message.status = [
            self._source.status(name, verdict.level, verdict.message, verdict.values)
            for name, verdict in verdicts.items()
        ]
        self._output.publish(message)

    def _on_diagnostics(self, data: bytes) -> None:
        # A cheap test of the bytes first: decoding costs 1 ms, and this callback receives the
        # messages of every node, its own included.
        if self._looks_like_runner(data) is None:
            return
        now = time.monotonic_ns()
        for status in self._build(data):
            if self._statuses.prefix.strip("/") in status.name:
                values = {pair.key: pair.value for pair in status.values}
                level = level_number(status.level)
                self._statuses.take(status.name, level, status.message, values, now)
