"""The emergency stop `~/estop`, taken by the control thread itself, without any executor."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Bool

from policy_runner.core.safety.operator_requests import Operator
from policy_runner.ros.inputs.graph import explain_silence
from policy_runner.ros.inputs.polling import MOST_TAKES, PolledSubscription

_TYPE = "std_msgs/msg/Bool"


class EstopInput:
    """Tells an `Operator` what `~/estop` says: reliable, so that a single message suffices.

    A node has one for its life: what is said while it is not active is heard at the first tick.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._polled = PolledSubscription(node, Bool, "~/estop", QoSProfile(depth=10))

    def drain(self, operator: Operator) -> None:
        """Take all that is there; never blocks."""
        for _ in range(MOST_TAKES):
            taken = self._polled.take()
            if taken is None:
                return
            operator.hear_estop(bool(taken[0].data))

    @property
    def topics(self) -> list[str]:
        """Fully resolved names of the topics that are heard."""
        return [str(self._polled.subscription.topic_name)]

    def silence(self) -> str:
        """Why a publisher that is there cannot be heard, or ''; without one it is ''."""
        subscription = self._polled.subscription
        if not self._node.count_publishers(subscription.topic_name):
            return ""
        return explain_silence(self._node, subscription, _TYPE)
