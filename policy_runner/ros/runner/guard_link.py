"""The node and its guard: what is told to it, and what is heard from it."""

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
    Output,
    merged,
    reaction_limit_ns,
    silence_limit_ns,
)


class GuardLink:
    """One of a node, for its life. The control thread uses `report`, the executor all else.

    While a reload swaps the policies, the outputs of both are told: whichever runs when the
    process fails, its outputs are stopped.
    """

    def __init__(self, node: Node) -> None:
        # Heartbeats carry it, so that the guard never takes those of another process for ours.
        self.session = f"{os.getpid()}-{time.monotonic_ns()}"
        self._publisher = node.create_publisher(
            String,
            OUTPUTS_TOPIC,
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        self.report = GuardReport(node, self.session)
        self._told: tuple[Output, ...] = ()

    def tell(
        self,
        outputs: Sequence[Output],
        settings: Settings,
        heartbeat_ns: int,
        guarded: bool,
        estop_topics: Sequence[str],
        keep: bool = False,
    ) -> None:
        """Publish what is commanded from now on.

        Args:
            outputs: those of the policy that runs, or is about to.
            settings: its settings, for the limits of silence and reaction.
            heartbeat_ns: time between two heartbeats.
            guarded: False in a dry run and in lockstep.
            estop_topics: fully resolved.
            keep: those that were told before stay as well.
        """
        told = merged(self._told, outputs) if keep else tuple(outputs)
        inference_ns = settings.period_ns * settings.decimation
        silence_ns = silence_limit_ns(heartbeat_ns, inference_ns, settings.late_inferences)
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
