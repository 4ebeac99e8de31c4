"""A real graph for tests of the sidecar: the node, and a listener that acts as the runner."""

from __future__ import annotations

import contextlib
import time

from fake_board import read_gated

ZONE = "sys/class/thermal/thermal_zone0"
BOARD = {
    "proc/stat": "cpu  1 0 0 1 0 0 0 0 0 0\ncpu0 1 0 0 1 0 0 0 0 0 0\nintr 1",
    "proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 6000000 kB",
    "proc/device-tree/model": "Test Board",
    "proc/device-tree/serial-number": "42",
    f"{ZONE}/type": "cpu-thermal",
    f"{ZONE}/temp": 61200,
    f"{ZONE}/trip_point_0_temp": 99000,
    f"{ZONE}/trip_point_0_type": "passive",
}


class Graph:
    """One context with a sidecar, and a listener that also acts as the runner."""

    def __init__(self, root, **parameters):
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.parameter import Parameter

        from policy_runner.ros.process.executor import ExecutorThread
        from policy_runner.ros.sidecar.node import JetsonDiagnostics

        self.context = rclpy.Context()
        rclpy.init(context=self.context)  # in the test session's own domain
        given = {"root": str(root), "period": 0.1, **parameters}
        overrides = [Parameter(name.replace("__", "."), value=v) for name, v in given.items()]
        self.sidecar = JetsonDiagnostics(
            read_gated, context=self.context, parameter_overrides=overrides
        )
        self.other = rclpy.create_node("listener", context=self.context)
        self.arrays = []
        self.other.create_subscription(
            DiagnosticArray, "/diagnostics", lambda m: self.arrays.append((time.time(), m)), 50
        )
        self.runner = self.other.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.executors = [ExecutorThread(node) for node in (self.sidecar, self.other)]
        for executor in self.executors:
            executor.start()
        self.sidecar.start()

    def close(self):
        for executor in self.executors:
            assert executor.stop(5.0)
        left = self.sidecar.stop()
        self.sidecar.destroy_node()
        self.other.destroy_node()
        self.context.try_shutdown()
        return left

    def statuses(self):
        """Newest status of the sidecar for each group."""
        found = {}
        for _, message in list(self.arrays):
            for status in message.status:
                node, _, group = status.name.partition(": ")
                if node == "jetson_diagnostics":
                    found[group] = status
        return found

    def wait_for(self, condition, timeout_s=15.0):
        end = time.monotonic() + timeout_s
        while True:
            found = self.statuses()
            if found and condition(found):
                return found
            assert time.monotonic() < end, {k: (s.level, s.message) for k, s in found.items()}
            time.sleep(0.02)

    def speak(self, rate=100.0, ticks=1):
        """Publish one message of a runner."""
        from diagnostic_msgs.msg import DiagnosticArray

        from policy_runner.ros.diagnostics.status import LEVEL_OK, make_status

        loop = {"rate [Hz]": rate, "target rate [Hz]": 100.0, "ticks": ticks}
        parts: dict[str, dict[str, object]] = {
            "loop": loop | {"missed deadlines": 0},
            "inference": {"inference p99 [us]": 110.0, "provider": "CPUExecutionProvider"},
            "safety": {"decision": "RUN", "reason": ""},
        }
        message = DiagnosticArray()
        message.status = [
            make_status(f"policy_runner: {name}", LEVEL_OK, name, values)
            for name, values in parts.items()
        ]
        self.runner.publish(message)


@contextlib.contextmanager
def heard(topic):
    """A list that gets every DiagnosticArray of a topic while the context is active."""
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray

    from policy_runner.ros.process.executor import ExecutorThread

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("heard", context=context)
    messages = []
    node.create_subscription(DiagnosticArray, topic, messages.append, 50)
    executor = ExecutorThread(node)
    executor.start()
    try:
        yield messages
    finally:
        assert executor.stop(5.0)
        node.destroy_node()
        context.try_shutdown()
