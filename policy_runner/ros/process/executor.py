"""The executor thread, its heartbeat and its failures; the control thread checks both."""

from __future__ import annotations

import threading
import time
from collections import deque

from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from policy_runner.core.safety.loop_watch import LoopWatch

_PERIOD_S = 0.25
_MINUTE_NS = 60_000_000_000
# rclpy raises this in its own service ~/change_state: a wrong request, not a failed callback.
_REFUSED_TRANSITION = "Failed to trigger lifecycle state machine transition"


class ExecutorPulse:
    """A timer that stores the time of its last call. A callback that blocks the executor stops it.

    The control thread reads that time and the number of failures from `watch`.
    """

    def __init__(self, node: Node) -> None:
        """Create the timer on `node`."""
        self.watch = LoopWatch()
        self._failed_ns: deque[int] = deque(maxlen=1000)
        # Steady time: with use_sim_time and a paused simulator the executor still beats.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(_PERIOD_S, self._beat, clock=clock)

    def failed(self) -> None:
        """Count a callback that raised; failures count for one minute."""
        self._failed_ns.append(time.monotonic_ns())
        self._count()

    def _beat(self) -> None:
        self.watch.beat_ns = time.monotonic_ns()
        self._count()

    def _count(self) -> None:
        failed, begin = self._failed_ns, time.monotonic_ns() - _MINUTE_NS
        while failed and failed[0] < begin:
            failed.popleft()
        self.watch.failures = len(failed)


class ExecutorThread:
    """Serves one node's callbacks until `stop`.

    A callback that raises is logged, and reported to the node's `pulse` if it has one. The thread
    then continues.
    """

    def __init__(self, node: Node) -> None:
        """Create the thread; `start` starts it."""
        self.exceptions = 0
        self._node = node
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="executor", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End the thread; True if it has ended in time, as it must before the process exits.

        Args:
            timeout_s: used twice: for the executor's shutdown, and for the thread.
        """
        self._stopping.set()
        self._executor.shutdown(timeout_s)
        if self._thread.ident is not None:  # it was started
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._executor.spin()
            except ExternalShutdownException:
                return
            except Exception as error:  # noqa: BLE001 - see the docstring of the class
                if self._stopping.is_set():
                    return
                self.exceptions += 1
                if _REFUSED_TRANSITION in str(error):
                    self._node.get_logger().warning(
                        "a transition that this state does not allow was asked for; nothing "
                        f"changed ({error})",
                        throttle_duration_sec=1.0,
                    )
                    continue
                pulse = getattr(self._node, "pulse", None)
                if pulse is not None:
                    pulse.failed()
                kind = type(error).__name__
                self._node.get_logger().error(
                    f"a callback failed ({kind}: {error}); the node continues",
                    throttle_duration_sec=1.0,
                )
