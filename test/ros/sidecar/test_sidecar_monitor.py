"""The terminal view and the recorder next to a running sidecar."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from fake_board import write_board
from sidecar_graph import BOARD

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="rclpy is not installed")

MONITOR = """
import argparse, sys
from policy_runner.cli.monitor import command as monitor
parser = argparse.ArgumentParser()
monitor.add_arguments(parser)
sys.exit(monitor.run(parser.parse_args(sys.argv[1:])))
"""


@pytest.fixture
def sidecar(tmp_path, spawn):
    write_board(tmp_path, BOARD)
    module = "policy_runner.ros.sidecar.main"
    arguments = ["--ros-args", "-p", f"root:={tmp_path}", "-p", "period:=0.2"]
    return spawn(["python", "-m", module, *arguments])


def test_one_look_exits_with_the_worst_level(sidecar, spawn):
    look = spawn(["python", "-c", MONITOR, "--once", "6", "--only", "temperature", "--values"])
    everything = spawn(["python", "-c", MONITOR, "--once", "6"])
    assert look.wait(20.0) == 0, look.quote()
    assert "cpu 61.2 °C, 37.8 °C below throttling at 99 °C" in " ".join(look.stdout.split())
    assert "Test Board 42" in look.stdout
    assert "cpu margin [C]" in look.stdout
    assert everything.wait(20.0) == 3  # no runner, so the joined view is stale
    assert "no policy_runner seen on /diagnostics yet" in everything.stdout


def test_nothing_heard_is_said_and_is_no_success(spawn):
    look = spawn(["python", "-c", MONITOR, "--once", "0.5"])
    assert look.wait(20.0) == 3
    assert "nothing heard on /diagnostics yet" in look.stdout


@pytest.mark.skipif(find_spec("mcap") is None, reason="mcap is not installed")
def test_record_until_ctrl_c_and_read_it_back(sidecar, spawn, tmp_path, wait_until):
    import signal

    from policy_runner.telemetry.recording.mcap import read_recording
    from policy_runner.telemetry.recording.report import build_report

    file = tmp_path / "run.mcap"
    live = spawn(["python", "-c", MONITOR, "--record", str(file)])
    # Chunks reach the file during the recording: a power cut loses only seconds.
    wait_until(lambda: file.exists() and file.stat().st_size > 60_000, 30.0)
    assert live.poll() is None, live.quote()
    live.send(signal.SIGINT)
    assert live.wait(5.0) == 0, live.quote()
    report = build_report(read_recording(file))
    (hottest, _) = report.panels["temperature [°C]"]
    assert set(hottest.values) == {61.2}


def test_view_shows_silent_publishers_and_the_sentence_first():
    from rich.console import Console

    from policy_runner.cli.monitor.screen import chosen, view
    from policy_runner.ros.diagnostics.listener import Row

    rows = {
        "jetson_diagnostics: policy": Row(1, "loop late: 81 of 100 Hz", {}, "board", 0),
        "policy_runner: loop": Row(0, "81.0 Hz", {}, "", -9_000_000_000),
    }
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(view(chosen(rows, ""), False, now_ns=0))
    words = console.export_text()
    assert words.index("loop late") < words.index("policy_runner")
    assert "SILENT" in words
    assert "for 9 s; last: 81.0 Hz" in words
    assert chosen(rows, "loop").keys() == {"policy_runner: loop"}


def robots_shown(width):
    from rich.console import Console

    from policy_runner.cli.monitor.screen import chosen, view
    from policy_runner.ros.diagnostics.listener import Row

    rows = {
        "/r1/policy_runner: safety": Row(0, "RUN", {}, "host1 Board", 0),
        "/r2/policy_runner: safety": Row(2, "SAFE_STOP: pressed", {}, "host2 Board", 0),
        "/r2/jetson_diagnostics: policy": Row(2, "the second one", {}, "host2 Board", 0),
    }
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(view(chosen(rows, ""), False, now_ns=0))
    return console.export_text().splitlines()


def test_several_robots_are_next_to_each_other():
    (names,) = [line for line in robots_shown(130) if line.split() == ["/r1", "/r2"]]
    second = names.index("/r2")
    lines = robots_shown(130)
    assert any("RUN" in line[:second] for line in lines)
    assert any("SAFE_STOP" in line[second:] for line in lines)
    assert not any("SAFE_STOP" in line[:second] for line in lines)


def test_robots_are_below_each_other_in_a_narrow_terminal():
    lines = robots_shown(80)
    words = "\n".join(lines)
    assert max(map(len, lines)) <= 80
    assert words.index("/r1") < words.index("RUN") < words.index("/r2") < words.index("SAFE_STOP")
