"""The executor in its own thread, outliving every exception of a callback.

In Jazzy a lifecycle transition that is not allowed, or any callback that raises, raises out
of `spin`: the thread would be dead while the process seems to live on without services.
"""

from __future__ import annotations

import threading
from typing import Any

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor


class ExecutorThread:
    """Serves one node's callbacks until `stop`; tells a node with a `pulse` of each failure."""

    def __init__(self, node: Any) -> None:
        self.exceptions = 0
        self._node = node
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="executor", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End within the timeout; True when the thread is gone (it must be before exit)."""
        self._stopping.set()
        self._executor.shutdown(timeout_s)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._executor.spin()
            except ExternalShutdownException:
                return
            except Exception as error:  # noqa: BLE001 - see the module's docstring
                if self._stopping.is_set():
                    return
                self.exceptions += 1
                pulse = getattr(self._node, "pulse", None)
                if pulse is not None:
                    pulse.failed()
                kind = type(error).__name__
                self._node.get_logger().error(
                    f"a callback failed ({kind}: {error}); the node goes on",
                    throttle_duration_sec=1.0,
                )
