"""What the executor tells about the loop once a second: /diagnostics, and the log where needed.

The control thread counts and never logs; this reads its counters.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray

from policy_runner.ros.configured import Configured
from policy_runner.ros.control_loop import ControlLoop
from policy_runner.ros.input_graph import explain_silence
from policy_runner.ros.realtime import Granted
from policy_runner.ros.runner_diagnostics import RunnerDiagnostics


class RunnerReports:
    """Publishes the runner's statuses and logs what an operator must not miss, throttled."""

    def __init__(self, node: Any, parameters: Any, granted: Granted) -> None:
        self._node = node
        self._parameters = parameters
        self._granted = granted
        self._texts = RunnerDiagnostics(node.get_name(), node.get_fully_qualified_name(), granted)
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._refusals_told = 0
        self._late_before = 0
        self.tell_refusals()

    def begin(self) -> None:
        """A new loop starts counting from 0."""
        self._late_before = 0

    def tell_refusals(self) -> None:
        """What the system did not grant, once each; the control thread's, too, which never logs."""
        for refusal in self._granted.refusals[self._refusals_told :]:
            self._refusals_told += 1
            self._node.get_logger().warning(refusal)

    def publish(
        self, made: Configured | None, loop: ControlLoop | None, problems: Sequence[str]
    ) -> None:
        """One message with every status."""
        message = DiagnosticArray(status=self._statuses(made, loop, problems))
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _statuses(
        self, made: Configured | None, loop: ControlLoop | None, problems: Sequence[str]
    ) -> list[Any]:
        texts = self._texts
        if made is None:
            return [texts.not_configured(problems)]
        dry_run = made.values["dry_run"]
        statuses = [
            texts.model(made.description),
            texts.safety(made.pipeline, loop is not None, dry_run),
        ]
        if loop is None:
            return statuses
        self._log(made, loop)
        now_ns = time.monotonic_ns()

        def explain(name: str) -> str:
            polled = next(one for one in made.inputs if one.slot.name == name)
            return explain_silence(self._node, polled.polled.subscription, polled.slot.spec.type)

        missed_warn = self._parameters.value("diagnostics.missed_warn")
        statuses += [
            texts.loop(loop, now_ns, missed_warn),
            texts.inputs(made.pipeline, now_ns, explain, made.loop_clock_ns),
            texts.inference(loop, made.model.provider),
        ]
        return statuses

    def _log(self, made: Configured, loop: ControlLoop) -> None:
        self.tell_refusals()
        logger = self._node.get_logger()
        interval = self._parameters.value("diagnostics.log_interval")
        if loop.error is not None:
            logger.error(
                f"the control thread ended: {type(loop.error).__name__}: {loop.error}",
                throttle_duration_sec=interval,
            )
        late, self._late_before = loop.late_inferences - self._late_before, loop.late_inferences
        if late:
            logger.warning(
                f"{late} inferences took longer than the control period of "
                f"{made.pipeline.settings.period_ns / 1e6:g} ms",
                throttle_duration_sec=interval,
            )
