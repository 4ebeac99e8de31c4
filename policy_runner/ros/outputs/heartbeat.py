"""The heartbeat `~/status`: the loop publishes its decision at 20 Hz.

When the heartbeat falls silent, the guard (`ros/guard`) sends the stops, no matter what ended the
runner. A controller downstream can also stop by itself. Below 20 Hz the heartbeat has the control
rate. A change of the decision is published at once.
"""

from __future__ import annotations

import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile

from policy_runner.core.safety.decision import Decision, Safety
from policy_runner.ros.messages.serialized import stamp_parts

_RATE_HZ = 20
_IDLE_NS = 1_000_000_000  # if there is no tick for longer, simulation time is paused
LEVELS = {
    Decision.STARTING: DiagnosticStatus.WARN,
    Decision.RUN: DiagnosticStatus.OK,
    Decision.HOLD: DiagnosticStatus.WARN,
    Decision.SAFE_STOP: DiagnosticStatus.ERROR,
}


class StatusPublisher:
    """One preallocated DiagnosticArray with one status; published from the control thread."""

    def __init__(self, node: Node, period_ns: int, session: str) -> None:
        """Create the publisher; publish nothing yet.

        Args:
            node: the runner's node.
            period_ns: period of the control loop [ns].
            session: identifies this process for its guard (see `GuardContract`).
        """
        self._node = node
        self._publisher = node.create_publisher(
            DiagnosticArray,
            "~/status",
            QoSProfile(depth=10),
            # Its own group: a group keeps dead references to destroyed entities.
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        self._sequence = KeyValue(key="sequence", value="0")
        self._decision = KeyValue(key="decision")
        self._reason = KeyValue(key="reason")
        self._detail = KeyValue(key="detail")
        self._armed = KeyValue(key="armed")
        self._commanding = KeyValue(key="commanding", value="false")
        values = [
            self._sequence,
            self._decision,
            self._reason,
            self._detail,
            self._armed,
            self._commanding,
            KeyValue(key="session", value=session),
        ]
        self._status = DiagnosticStatus(name=f"{node.get_name()}: status", values=values)
        self._message = DiagnosticArray(status=[self._status])
        # Whether commands that may move the robot are published; the loop sets it.
        self.commanding = False
        self._told: tuple[Decision | None, bool] = (None, False)
        self.told_ns = time.monotonic_ns()  # time of the newest heartbeat, monotonic clock
        self._ticked_ns = self.told_ns  # time of the newest heartbeat from a tick
        self.set_period(period_ns)

    def set_period(self, period_ns: int) -> None:
        """Set the period of the ticks."""
        self._every = max(1, round(1e9 / period_ns / _RATE_HZ))

    def tick(self, safety: Safety, sequence: int, stamp_ns: int) -> bool:
        """Publish if it is time, or if the decision or `commanding` has changed.

        Args:
            safety: gives the decision.
            sequence: number of this tick.
            stamp_ns: time on the node's clock [ns].

        Returns:
            Whether it has published.
        """
        changed = self._told != (safety.decision, self.commanding)
        if changed or sequence % self._every == 0:
            self.publish(safety, sequence, stamp_ns)
            return True
        return False

    def idle(self, safety: Safety, sequence: int, stamp_ns: int) -> None:
        """Publish while simulation time is paused, so that silence always means a fault."""
        if time.monotonic_ns() - self._ticked_ns > _IDLE_NS:
            self.commanding = False
        self._publish(safety, sequence, stamp_ns)

    def publish(self, safety: Safety, sequence: int, stamp_ns: int) -> None:
        """Publish the state of the loop."""
        self._told = (safety.decision, self.commanding)
        self._publish(safety, sequence, stamp_ns)
        self._ticked_ns = self.told_ns

    def _publish(self, safety: Safety, sequence: int, stamp_ns: int) -> None:
        self.told_ns = time.monotonic_ns()
        stamp = self._message.header.stamp
        stamp.sec, stamp.nanosec = stamp_parts(stamp_ns)
        self._status.level = LEVELS[safety.decision]
        self._status.message = safety.decision.value
        self._sequence.value = str(sequence)
        self._decision.value = safety.decision.value
        self._reason.value = safety.reason.value
        self._detail.value = safety.detail
        self._armed.value = "true" if safety.is_armed else "false"
        self._commanding.value = "true" if self.commanding else "false"
        self._publisher.publish(self._message)

    def destroy(self) -> None:
        """Destroy the publisher."""
        self._node.destroy_publisher(self._publisher)
