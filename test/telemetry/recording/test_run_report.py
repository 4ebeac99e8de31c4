"""Recordings: written messages are read back, and the report has their levels and figures."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from diagnostics_rig import cdr

from policy_runner.telemetry.recording.diagnostics_cdr import Status, read_diagnostics
from policy_runner.telemetry.recording.mcap import Recorder, Unrecordable, read_recording
from policy_runner.telemetry.recording.report import build_report, text

needs_mcap = pytest.mark.skipif(find_spec("mcap") is None, reason="mcap is not installed")
S = 1_000_000_000


@pytest.mark.parametrize("order", ["<", ">"])
def test_cdr_of_both_byte_orders(order):
    stamp, statuses = read_diagnostics(cdr(2, "a: b", "es ist 95 °C", {"k [C]": "1.5"}, order))
    assert stamp == 7 * S + 500
    assert statuses == [Status(2, "a: b", "es ist 95 °C", "board 1", {"k [C]": "1.5"})]


@pytest.mark.parametrize("cut", [3, 8, 15, 30, -1, -3])
def test_cut_bytes_are_refused(cut):
    with pytest.raises(ValueError, match="no DiagnosticArray"):
        read_diagnostics(cdr(0, "a: b", "m", {"k": "v"})[:cut])


def test_bytes_as_rclpy_writes_them():
    if find_spec("rclpy") is None:
        pytest.skip("rclpy is not installed")
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.serialization import serialize_message

    from policy_runner.ros.diagnostics.status import make_status

    message = DiagnosticArray()
    message.header.stamp.sec = 12
    message.header.frame_id = "x"
    message.status = [
        make_status(f"node: {i}", i, "m" * i, {f"key {k}": 1.5 for k in range(i)}, "hw")
        for i in range(4)
    ]
    stamp, statuses = read_diagnostics(serialize_message(message))
    assert stamp == 12 * S
    assert [(s.level, s.name, len(s.message)) for s in statuses] == [
        (i, f"node: {i}", i) for i in range(4)
    ]
    assert statuses[3].values == {"key 0": "1.5", "key 1": "1.5", "key 2": "1.5"}


def record(path):
    recorder = Recorder(path)
    for second, (watts, level) in enumerate([(10.0, 0), (20.0, 0), (30.0, 1), (12.0, 0)]):
        values = {"total [W]": str(watts), "budget [W]": "n/a: none"}
        recorder.add(cdr(level, "jetson_diagnostics: power", f"{watts} W", values), second * S)
        joined = cdr(level, "jetson_diagnostics: policy", "sentence", {})
        recorder.add(joined, second * S + 1)
    recorder.close()
    recorder.add(b"", 0)  # a late message of another thread is ignored


@needs_mcap
def test_recorded_and_reported(tmp_path):
    record(tmp_path / "run.mcap")
    report = build_report(read_recording(tmp_path / "run.mcap"))
    assert report.duration == pytest.approx(3.0)
    (series,) = report.panels["power [W]"]
    assert series.values == [10.0, 20.0, 30.0, 12.0]
    assert series.times == pytest.approx([0.0, 1.0, 2.0, 3.0])
    words = text(report)
    assert "10.0       18.0       30.0" in words
    assert "2.0 s  WARN   jetson_diagnostics: power: 30.0 W" in words
    assert words.count("jetson_diagnostics: power:") == 3  # changes only


@needs_mcap
def test_other_files_are_refused_in_a_sentence(tmp_path):
    record(tmp_path / "run.mcap")
    with pytest.raises(Unrecordable, match="exists already"):
        Recorder(tmp_path / "run.mcap")
    (tmp_path / "no.mcap").write_bytes(b"something else")
    with pytest.raises(Unrecordable, match="expected an MCAP recording"):
        list(read_recording(tmp_path / "no.mcap"))
    Recorder(tmp_path / "empty.mcap").close()
    with pytest.raises(Unrecordable, match="expected messages on /diagnostics, got none"):
        list(read_recording(tmp_path / "empty.mcap"))


@needs_mcap
def test_picture(tmp_path, capsys):
    if find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    import argparse

    from policy_runner.cli import report

    record(tmp_path / "run.mcap")
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    picture = tmp_path / "run.png"
    words = [str(tmp_path / "run.mcap"), "--picture", str(picture)]
    assert report.run(parser.parse_args(words)) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "lowest" in capsys.readouterr().out


def test_without_the_library_it_says_what_to_install(tmp_path, monkeypatch):
    from policy_runner.telemetry.recording import mcap as recording

    monkeypatch.setattr(recording, "find_spec", lambda name: None)
    with pytest.raises(Unrecordable, match="pip install mcap"):
        Recorder(tmp_path / "run.mcap")


def run_of(*levels, part="policy_runner: inference", key="inference p99 [us]"):
    """A report on one message a second: a figure, and the joined status with these levels."""
    return build_report(
        (
            second * S,
            [
                Status(0, part, "", "", {key: "20.0"}),
                Status(level, "jetson_diagnostics: policy", f"sentence {second}", "", {}),
            ],
        )
        for second, level in enumerate(levels)
    )


def test_a_label_does_not_repeat_the_name_of_the_part():
    (series,) = run_of(0, 0).panels["latency [us]"]
    assert series.label == "policy_runner: inference p99 [us]"
    (series,) = run_of(0, part="policy_runner: loop", key="step p99 [us]").panels["latency [us]"]
    assert series.label == "policy_runner: loop step p99 [us]"
    assert "inference inference" not in text(run_of(0, 0))


def test_every_band_of_the_picture_has_its_level_and_its_sentence():
    from policy_runner.cli.report import Band, troubles

    assert troubles(run_of(0, 0, 0)) == []
    assert troubles(run_of(0, 1, 1, 2, 0, 3, 1)) == [
        Band(1.0, 3.0, "WARN", "sentence 1"),
        Band(3.0, 4.0, "ERROR", "sentence 3"),
        Band(6.0, 6.0, "WARN", "sentence 6"),
    ]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ((25.0, 90.0), {"50 µs"}),
        ((15.0, 9000.0), {"100 µs", "1 ms"}),
        ((0.5, 2e6), {"1 µs", "10 µs", "1 ms", "100 ms", "1 s"}),
    ],
)
def test_short_durations_can_be_read_below_long_ones(values, labels):
    if find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    from policy_runner.cli.drawing.style import drawing, log_durations

    pyplot = drawing()
    figure, axes = pyplot.subplots()
    axes.plot(values)
    log_durations(axes, "y")
    figure.canvas.draw()
    ticks = [*axes.yaxis.get_majorticklabels(), *axes.yaxis.get_minorticklabels()]
    low, high = axes.get_ylim()
    shown = {tick.get_text() for tick in ticks if low <= tick.get_position()[1] <= high}
    pyplot.close(figure)
    assert axes.get_yscale() == "log"
    assert labels <= shown
    assert len(shown) <= 10
