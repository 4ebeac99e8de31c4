"""The executor's reports about the loop, once a second: /diagnostics, and the log if needed.

The control thread counts and never logs; this module reads its counters.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from policy_runner.core.black_box.pipeline_recorder import Recorder
from policy_runner.core.inputs.joints import NEVER
from policy_runner.core.safety.loop_watch import LoopWatch
from policy_runner.core.safety.operator_requests import Operator
from policy_runner.ros.diagnostics.source import status_source
from policy_runner.ros.diagnostics.status import LEVEL_WARN
from policy_runner.ros.diagnostics.story import Story
from policy_runner.ros.inputs.estop import EstopInput
from policy_runner.ros.inputs.graph import deaf_receivers, explain_silence
from policy_runner.ros.inputs.participants import Participants
from policy_runner.ros.messages.serialized import stamp_parts
from policy_runner.ros.parameters.declared import DeclaredParameters
from policy_runner.ros.process.realtime import Granted
from policy_runner.ros.runner.configure import ConnectedPolicy
from policy_runner.ros.runner.control_loop import ControlLoop
from policy_runner.ros.runner.diagnostics import RunnerDiagnostics

_LOOKS_PER_QUERY = 2  # every second call of `look_around` queries the other participants


class RunnerReports:
    """Publishes the runner's statuses and logs important events for the operator, throttled."""

    def __init__(self, node: Node, parameters: DeclaredParameters, granted: Granted) -> None:
        """Create the publisher of /diagnostics.

        Args:
            node: gets the publisher and the log lines.
            parameters: the node's.
            granted: what the operating system granted; its refusals are logged.
        """
        self._node = node
        self._parameters = parameters
        self._granted = granted
        self._texts = RunnerDiagnostics(status_source(node, parameters.values()), granted)
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._refusals_logged = 0
        self._late_before = 0
        self.story = Story(
            node.get_logger(), lambda: float(parameters.value("diagnostics.log_interval"))
        )
        self._participants = Participants(node)
        self._estop_says: list[str] = []
        self._looks = 0
        self._ticks_before = -1
        self._box_ended_in: ConnectedPolicy | None = None  # its end was logged
        self.log_refusals()

    def begin(self, connected: ConnectedPolicy) -> None:
        """Start the counts of a new loop and log whether it waits for arming."""
        self._late_before = connected.pipeline.late_inferences
        waits = connected.pipeline.settings.require_arming
        self._node.get_logger().info(
            "active, not armed: call ~/arm to let the policy command"
            if waits
            else "active: the policy commands as soon as its inputs come (require_arming is false)"
        )

    def log_refusals(self) -> None:
        """Log each request that the operating system refused, once, also for the control thread."""
        for refusal in self._granted.refusals[self._refusals_logged :]:
            self._refusals_logged += 1
            self._node.get_logger().warning(refusal)

    def explain_silence(self, connected: ConnectedPolicy | None) -> None:
        """For each silent input, store the reason that the ROS graph shows."""
        if connected is None:
            return
        now_ns, rules = connected.loop_clock_ns, connected.pipeline.settings.inputs
        for one in connected.inputs:
            slot = one.slot
            oldest_ns = slot.oldest_ns
            heard = oldest_ns != NEVER and now_ns - oldest_ns <= rules[slot.name].max_age_ns
            if slot.text is not None:
                heard = slot.text.is_given
            subscription = one.polled.subscription
            slot.silence = (
                "" if heard else explain_silence(self._node, subscription, slot.spec.type)
            )

    def look_around(
        self,
        connected: ConnectedPolicy | None,
        running: bool,
        estop: EstopInput,
        operator: Operator,
        watch: LoopWatch,
    ) -> None:
        """Look at the other participants and log what has happened; called 4 times a second.

        Args:
            connected: the present policy; None: not configured.
            running: whether a control thread reads the emergency stop.
            estop: the node's emergency stop.
            operator: the node's; gets the reasons against arming.
            watch: the loop's; gets the names of other publishers of its command topics.
        """
        if not running:
            estop.drain(operator)
        self._estop_says = estop.look()
        others, story = self._participants, self.story
        self._looks += 1
        if connected is None or connected.commands is None:
            others.close()
        elif self._looks % _LOOKS_PER_QUERY == 0:
            rules = connected.pipeline.settings.inputs
            others.look(
                connected.commands.publishers, connected.inputs, rules, self._could_not_look
            )
        watch.commanders = others.commanders
        operator.forbid("second commander", others.commanders)
        story.tell(connected.pipeline.safety if connected is not None else None, operator)
        story.found("emergency stop", self._estop_says)
        story.found("commands", [others.commanders] if others.commanders else [])
        story.found("inputs", others.of_inputs)

    def _could_not_look(self, text: str) -> None:
        self._node.get_logger().error(text, throttle_duration_sec=60.0)

    def publish(
        self, connected: ConnectedPolicy | None, loop: ControlLoop | None, problems: Sequence[str]
    ) -> None:
        """Publish one message with every status."""
        message = DiagnosticArray(status=self._statuses(connected, loop, problems))
        stamp = message.header.stamp
        stamp.sec, stamp.nanosec = stamp_parts(self._node.get_clock().now().nanoseconds)
        self._publisher.publish(message)

    def _statuses(
        self, connected: ConnectedPolicy | None, loop: ControlLoop | None, problems: Sequence[str]
    ) -> list[DiagnosticStatus]:
        texts = self._texts
        if connected is None:
            return [texts.not_configured(problems)]
        dry_run, active = connected.config.loop.dry_run, loop is not None
        unusable = (
            connected.commands.unusable_measurements if connected.commands is not None else None
        )
        statuses = [
            texts.model(connected.policy.description),
            texts.safety(connected.pipeline, active, dry_run, unusable, _guard_values(connected)),
        ]
        if loop is None:
            return statuses
        self._report_deaf_receivers(connected, statuses[-1])
        _warn(statuses[-1], self._participants.commanders)
        self._log(connected, loop)
        now_ns, model = time.monotonic_ns(), connected.policy.model

        self.explain_silence(connected)
        further = [*self._estop_says, *self._participants.of_inputs]
        further += self._lockstep_waits(connected, loop)
        ended = _black_box_ended(connected)
        missed_warn = self._parameters.value("diagnostics.missed_warn")
        statuses += [
            texts.loop(loop, now_ns, missed_warn, black_box_state(connected.recorder)),
            texts.inputs(connected.pipeline, now_ns, connected.loop_clock_ns, further),
            texts.inference(loop, model.provider, now_ns, model.live_facts()),
        ]
        _warn(statuses[2], ended)
        return statuses

    def _lockstep_waits(self, connected: ConnectedPolicy, loop: ControlLoop) -> list[str]:
        """Say what keeps lockstep from the next step, if none was made since the last report."""
        before, self._ticks_before = self._ticks_before, loop.ticks
        if not connected.config.loop.lockstep or loop.ticks != before:
            return []
        clock_ns = connected.loop_clock_ns
        if clock_ns == NEVER:
            return ["lockstep waits for /clock"]
        return [
            f"lockstep waits for {name}: its stamp is {slot.stamp_ns / 1e9:.3f} s,"
            f" /clock is {clock_ns / 1e9:.3f} s"
            for name, slot in connected.pipeline.slots.items()
            if slot.text is None and slot.stamp_ns not in (NEVER, clock_ns)
        ]

    def _report_deaf_receivers(self, connected: ConnectedPolicy, safety: DiagnosticStatus) -> None:
        if connected.commands is not None:
            _warn(safety, deaf_receivers(self._node, connected.commands.publishers))

    def _log(self, connected: ConnectedPolicy, loop: ControlLoop) -> None:
        self.log_refusals()
        logger = self._node.get_logger()
        interval = self._parameters.value("diagnostics.log_interval")
        for line in connected.policy.model.take_log():
            logger.warning(line)
        for line in connected.guard.news() if connected.guard is not None else ():
            logger.warning(line)
        ended = _black_box_ended(connected)
        if ended and connected is not self._box_ended_in:
            self._box_ended_in = connected
            logger.error(ended)
        if loop.error is not None:
            logger.error(
                f"the control thread ended: {type(loop.error).__name__}: {loop.error}",
                throttle_duration_sec=interval,
            )
        total = connected.pipeline.late_inferences
        late, self._late_before = total - self._late_before, total
        settings = connected.pipeline.settings
        if late:
            logger.warning(
                f"{late} inferences took longer than their period of "
                f"{settings.period_ns * settings.decimation / 1e6:g} ms",
                throttle_duration_sec=interval,
            )


def _warn(status: DiagnosticStatus, sentence: str) -> None:
    """Add a sentence to a status and raise its level to at least a warning."""
    if sentence:
        status.level = max(status.level, bytes([LEVEL_WARN]))
        status.message = f"{status.message}; {sentence}"


def black_box_state(recorder: Recorder | None) -> str:
    """Return one word for the status: what the black box does."""
    if recorder is None:
        return "off"
    return "records" if recorder.error is None else "ended"


def _black_box_ended(connected: ConnectedPolicy) -> str:
    """A sentence if an error has ended the record of this policy, or ''."""
    error = connected.recorder.error if connected.recorder is not None else None
    if error is None:
        return ""
    return (
        f"the black box ended: {type(error).__name__}: {error}; a reload begins a new record, "
        "and ~/dump still writes what came before"
    )


def _guard_values(connected: ConnectedPolicy) -> dict[str, object]:
    if connected.guard is None:
        return {}
    report = connected.guard.report
    there = "watches" if report.is_present() else "not heard"
    return {"guard": there, "stopped by the guard": report.acts}
