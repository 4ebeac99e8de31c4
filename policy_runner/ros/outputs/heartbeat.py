"""The heartbeat `~/status`: what the loop decides, at 20 Hz, from the loop itself.

The guard (`ros/guard`) sends the stops when it falls silent, whatever ended the runner, and a
controller downstream can stop by itself. Below 20 Hz the heartbeat follows the control rate; a
change of the decision is published at once.
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
_IDLE_NS = 1_000_000_000  # without a tick for longer, simulation time is paused
LEVELS = {
    Decision.STARTING: DiagnosticStatus.WARN,
    Decision.RUN: DiagnosticStatus.OK,
    Decision.HOLD: DiagnosticStatus.WARN,
    Decision.SAFE_STOP: DiagnosticStatus.ERROR,
}


class StatusPublisher:
    """One preallocated DiagnosticArray with one status; published from the control thread."""

    def __init__(self, node: Node, period_ns: int, session: str) -> None:
        """A heartbeat that has not been published yet.

        Args:
            node: whose state it is.
            period_ns: of the control loop.
            session: names this process for its guard.
        """
        self._node = node
        self._publisher = node.create_publisher(
            DiagnosticArray,
            "~/status",
            QoSProfile(depth=10),
            # Its own, since a group keeps dead references to what was destroyed.
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
        self.commanding = False  # whether commands leave that may move the robot; set by the loop
        self._told: tuple[Decision | None, bool] = (None, False)
        self.told_ns = time.monotonic_ns()  # of the newest heartbeat, monotonic
        self._ticked_ns = self.told_ns  # of the newest one with a tick
        self.set_period(period_ns)

    def set_period(self, period_ns: int) -> None:
        """Ticks come in this period."""
        self._every = max(1, round(1e9 / period_ns / _RATE_HZ))

    def tick(self, safety: Safety, sequence: int, stamp_ns: int) -> bool:
        """Publish when it is time, or something has changed; whether it did."""
        changed = self._told != (safety.decision, self.commanding)
        if changed or sequence % self._every == 0:
            self.publish(safety, sequence, stamp_ns)
            return True
        return False

    def idle(self, safety: Safety, sequence: int, stamp_ns: int) -> None:
        """Publish while simulation time gives no ticks, so that silence always means a fault."""
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
