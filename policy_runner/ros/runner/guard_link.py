"""The link between the node and its guard: sends the outputs, receives the reports."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from policy_runner.core.settings import Settings
from policy_runner.ros.inputs.guard_report import GuardReport
from policy_runner.ros.messages.guard_contract import (
    OUTPUTS_TOPIC,
    GuardContract,
    GuardedOutput,
    merged,
    reaction_limit_ns,
)

_MISSING_AFTER_NS = 5_000_000_000


class GuardLink:
    """The link of a node to its guard; one for the life of the node.

    The control thread uses `report`, the executor all other members. While a reload swaps the
    policies, the guard gets the outputs of both: if the process fails then, the outputs of the
    policy that runs are stopped.
    """

    def __init__(self, node: Node) -> None:
        # Part of every heartbeat, so that the guard never confuses two processes.
        self.session = f"{os.getpid()}-{time.monotonic_ns()}"
        self._publisher = node.create_publisher(
            String,
            OUTPUTS_TOPIC,
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        self.report = GuardReport(node, self.session)
        self._told: tuple[GuardedOutput, ...] = ()
        self._guarded = False
        self._acts_logged = 0
        self._missing_since_ns = time.monotonic_ns()
        self._missing_logged = False

    def news(self) -> list[str]:
        """Return lines for the log: the guard has acted since the last call, or is missing."""
        lines = []
        if self.report.acts > self._acts_logged:
            self._acts_logged = self.report.acts
            lines.append(f"the guard stopped the outputs: {self.report.reason}")
        is_needed = any(one.stop is not None for one in self._told) and self._guarded
        if self.report.is_present() or not is_needed:
            self._missing_since_ns = time.monotonic_ns()
            self._missing_logged = False
        elif not self._missing_logged and (
            time.monotonic_ns() - self._missing_since_ns > _MISSING_AFTER_NS
        ):
            self._missing_logged = True
            lines.append(
                "no guard is heard: if this process is killed or hangs, its last command stays; "
                "start policy_runner_guard, as the launch file does"
            )
        return lines

    def tell(
        self,
        outputs: Sequence[GuardedOutput],
        settings: Settings,
        guarded: bool,
        estop_topics: Sequence[str],
        keep: bool = False,
    ) -> None:
        """Publish the outputs that are commanded from now on.

        Args:
            outputs: outputs of the policy that runs, or is about to run.
            settings: that policy's settings, for the limits of silence and reaction.
            guarded: False in a dry run and in lockstep, where the guard never acts.
            estop_topics: topics of the emergency stop, fully resolved.
            keep: also keep the outputs of the last call.
        """
        self._guarded = guarded
        told = merged(self._told, outputs) if keep else tuple(outputs)
        silence_ns = settings.longest_silence_ns
        # In a dry run and in lockstep the guard never acts.
        self.report.silence_ns = silence_ns if guarded else 1 << 62
        contract = GuardContract(
            session=self.session,
            silence_ns=silence_ns,
            reaction_ns=reaction_limit_ns(settings.period_ns),
            guarded=guarded,
            estop_topics=tuple(estop_topics),
            outputs=told,
        )
        self._publisher.publish(String(data=contract.to_json()))
        self._told = told
