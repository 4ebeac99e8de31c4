"""The sidecar in a real graph: its messages, its view of a runner, and faults it survives."""

from __future__ import annotations

import os
import time
from importlib.util import find_spec
from itertools import pairwise

import pytest
from fake_board import write_board
from sidecar_graph import BOARD, ZONE, Graph

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="rclpy is not installed")

GROUPS = ["cpu", "memory", "temperature", "disk"]
GROUPS += ["power", "throttling", "gpu", "engines", "fan", "board", "policy"]


@pytest.fixture
def graphs(tmp_path):
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
    assert sorted(gaps)[len(gaps) // 2] == pytest.approx(1.0, abs=0.2), gaps
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
    graph.speak()  # just after a message: the next messages come 1.6 and 3.2 s from now
    spoken = time.time()
    graph.wait_for(lambda f: f["policy"].level == b"\2")
    assert 1.9 < graph.arrays[-1][0] - spoken < 2.7
    assert graph.statuses()["policy"].message == "no status from policy_runner for 2 s"


def test_late_loop_on_a_hot_board_is_one_sentence(graphs, tmp_path):
    graph = graphs()
    write_board(tmp_path, {f"{ZONE}/temp": 97000})
    graph.wait_for(lambda f: f["temperature"].level == b"\1")
    for ticks in (100, 181, 262):
        graph.speak(rate=81.3, ticks=ticks)
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
    # The first message may come before the first reading.
    read = graphs().wait_for(lambda f: "temperature" in f and f["temperature"].values)
    found = read["temperature"]
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


def test_what_was_read_at_the_start_is_refused_later(graphs):
    from rclpy.parameter import Parameter

    graph = graphs()
    for name, value in (("period", 0.5), ("root", "/elsewhere"), ("disk.paths", ["/tmp"])):
        result = graph.sidecar.set_parameters([Parameter(name, value=value)])[0]
        assert not result.successful
        assert f"parameter {name}: read at the start of the process" in result.reason


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
