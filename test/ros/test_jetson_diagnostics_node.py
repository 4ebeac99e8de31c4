"""The sidecar in a real graph: what it publishes, what it makes of a runner, what it survives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from itertools import pairwise

import pytest

from policy_runner.telemetry.fake_board import read_gated, write_board

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="rclpy is not installed")

DOMAIN = 42
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
GROUPS = ["cpu", "memory", "temperature", "disk"]
GROUPS += ["power", "throttling", "gpu", "fan", "board", "policy"]


class Graph:
    """One context with a sidecar and a listener that also plays the runner."""

    def __init__(self, root, **parameters):
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.parameter import Parameter

        from policy_runner.ros.jetson_diagnostics import JetsonDiagnostics
        from policy_runner.ros.jetson_diagnostics_main import spin

        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
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
        self.stop = threading.Event()
        self.executors = []
        self.threads = []
        for node in (self.sidecar, self.other):
            executor = SingleThreadedExecutor(context=self.context)
            executor.add_node(node)
            thread = threading.Thread(target=spin, args=(executor, self.stop, self.sidecar))
            self.executors.append(executor)
            self.threads.append(thread)
            thread.start()
        self.sidecar.start()

    def close(self):
        self.stop.set()
        for executor in self.executors:
            executor.shutdown(2.0)
        for thread in self.threads:
            thread.join(5.0)
            assert not thread.is_alive()
        left = self.sidecar.stop()
        self.sidecar.destroy_node()
        self.other.destroy_node()
        self.context.try_shutdown()
        return left

    def statuses(self):
        """Newest status of the sidecar by group."""
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
        """One message of a runner."""
        from diagnostic_msgs.msg import DiagnosticArray

        from policy_runner.ros.diagnostic_status import LEVEL_OK, make_status

        loop = {"rate [Hz]": rate, "target rate [Hz]": 100.0, "ticks": ticks}
        parts = {
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


@pytest.fixture
def graphs(tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    write_board(tmp_path, BOARD)
    opened = []

    def make(root=tmp_path, **parameters):
        opened.append(Graph(root, **parameters))
        return opened[-1]

    yield make
    for graph in opened:
        graph.close()


def test_messages_conform(graphs):
    graph = graphs(period=1.0)
    graph.wait_for(lambda found: len(graph.arrays) >= 4)
    arrivals, messages = zip(*graph.arrays)
    gaps = [b - a for a, b in pairwise(arrivals)]
    assert all(0.7 < gap < 1.3 for gap in gaps), gaps
    for arrival, message in graph.arrays:
        stamp = message.header.stamp
        assert abs(stamp.sec + stamp.nanosec * 1e-9 - arrival) < 0.5
        names = [status.name for status in message.status]
        assert names == [f"jetson_diagnostics: {group}" for group in GROUPS]
        for status in message.status:
            assert isinstance(status.level, bytes)
            assert status.level in (b"\0", b"\1", b"\2", b"\3")
            assert status.hardware_id == "Test Board 42"
    keys = [[[v.key for v in s.values] for s in m.status] for m in messages]
    assert all(key == keys[0] for key in keys)
    found = graph.statuses()
    values = {v.key: v.value for v in found["temperature"].values}
    assert values["cpu [C]"] == "61.2"
    assert values["cpu margin [C]"] == "37.8"
    assert found["policy"].level == b"\3"


def test_runner_is_joined(graphs):
    graph = graphs()
    graph.wait_for(lambda f: "policy" in f)
    graph.speak()
    found = graph.wait_for(lambda f: f["policy"].message.startswith("loop at"))
    sentence = "loop at 100.0 of 100 Hz, inference p99 0.11 ms, RUN; hottest zone 61 °C"
    assert found["policy"].message == sentence
    assert found["policy"].level == b"\0"


def test_silence_of_the_runner_is_an_error_after_two_seconds_not_at_the_next_message(graphs):
    graph = graphs(period=1.6)
    graph.wait_for(lambda f: "policy" in f)
    graph.speak()  # just after a message: the next ones come 1.6 and 3.2 s from now
    spoken = time.time()
    graph.wait_for(lambda f: f["policy"].level == b"\2")
    assert 1.9 < graph.arrays[-1][0] - spoken < 2.7
    assert graph.statuses()["policy"].message == "no status from policy_runner for 2 s"


def test_late_loop_on_a_hot_board_is_one_sentence(graphs, tmp_path):
    graph = graphs()
    write_board(tmp_path, {f"{ZONE}/temp": 97000})
    graph.wait_for(lambda f: f["temperature"].level == b"\1")
    graph.speak(rate=81.3)
    found = graph.wait_for(lambda f: "late" in f["policy"].message)
    assert found["policy"].message.startswith(
        "loop late: 81.3 of 100 Hz while temperature cpu 97.0 °C, 2.0 °C below throttling at 99 °C"
    )
    assert found["policy"].level == b"\1"


def test_hung_sensor_makes_its_group_stale_and_nothing_else(graphs, tmp_path):
    graph = graphs(read_deadline=0.2)
    graph.wait_for(lambda f: f["temperature"].level == b"\0")
    keys = [v.key for v in graph.statuses()["temperature"].values]
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "fifo").replace(tmp_path / ZONE / "temp")
    found = graph.wait_for(lambda f: f["temperature"].level == b"\3")
    assert "reading temperature hangs since" in found["temperature"].message
    assert [v.key for v in found["temperature"].values] == keys
    assert {v.value for v in found["temperature"].values} == {"n/a: stale"}
    count = len(graph.arrays)
    graph.wait_for(lambda f: len(graph.arrays) > count + 5)
    assert graph.statuses()["memory"].level == b"\0"
    hung = os.open(tmp_path / ZONE / "temp", os.O_WRONLY)
    write_board(tmp_path, {f"{ZONE}/temp": 50000})
    os.close(hung)
    graph.wait_for(lambda f: f["temperature"].level == b"\0")


def test_gated_sensor_is_na_with_its_reason(graphs, tmp_path):
    write_board(tmp_path, {f"{ZONE}/temp": "!EAGAIN"})
    found = graphs().wait_for(lambda f: "temperature" in f)["temperature"]
    values = {v.key: v.value for v in found.values}
    assert values["cpu [C]"] == "n/a: switched off"
    assert found.message == "temperature n/a: every sensor is switched off"


def test_bad_parameters_are_said_and_mended_not_fatal(graphs):
    from rclpy.parameter import Parameter

    graph = graphs(cpu__warn_load=9000.0, memory__clear="much")
    found = graph.wait_for(lambda f: "parameter problems" in {v.key for v in f["policy"].values})
    assert "default instead of a bad parameter" in found["policy"].message
    refused = graph.sidecar.set_parameters([Parameter("cpu.warn_load", value=-1.0)])[0]
    assert not refused.successful
    assert "cpu.warn_load" in refused.reason
    for name, value in (("cpu.warn_load", 80.0), ("memory.clear", 3.0)):
        assert graph.sidecar.set_parameters([Parameter(name, value=value)])[0].successful
    graph.wait_for(lambda f: "bad parameter" not in f["policy"].message)


def test_live_threshold_takes_effect(graphs):
    from rclpy.parameter import Parameter

    graph = graphs()
    graph.wait_for(lambda f: f["memory"].level == b"\0")
    graph.sidecar.set_parameters([Parameter("memory.warn_used", value=20.0)])
    graph.wait_for(lambda f: f["memory"].level == b"\1")


def test_a_callback_that_raises_does_not_end_the_executor(graphs):
    graph = graphs()
    graph.wait_for(lambda f: True)
    whole, failures = graph.sidecar._publish, []

    def once(verdicts):
        if len(failures) < 3:
            failures.append(1)
            raise RuntimeError("odd")
        whole(verdicts)

    graph.sidecar._publish = once
    count = len(graph.arrays)
    graph.wait_for(lambda f: len(graph.arrays) > count + 3)
    assert len(failures) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_process_ends_cleanly_even_while_a_read_hangs(tmp_path, number):
    write_board(tmp_path, BOARD)
    (tmp_path / ZONE / "temp").unlink()
    os.mkfifo(tmp_path / ZONE / "temp")
    environment = {
        **os.environ,
        "ROS_DOMAIN_ID": str(DOMAIN),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_PYTHON_CHECK_FIELDS": "1",
    }
    command = [sys.executable, "-m", "policy_runner.ros.jetson_diagnostics_main"]
    command += ["--ros-args", "-p", f"root:={tmp_path}", "-p", "period:=0.1"]
    log = tmp_path / "log"
    for _ in range(3):
        with open(log, "wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            time.sleep(1.5)
            assert process.poll() is None, log.read_text()
            begin = time.monotonic()
            process.send_signal(number)
            code = process.wait(5.0)
        finally:
            process.kill()
            process.wait()
        assert code == 0, log.read_text()
        assert time.monotonic() - begin < 2.0
