"""The real node reads a scripted day of a board: levels and messages over time."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from fake_board import write_board
from sidecar_graph import BOARD, ZONE, Graph

pytestmark = pytest.mark.skipif(find_spec("rclpy") is None, reason="rclpy is not installed")

COOLING = "sys/class/thermal/cooling_device"
OC = "sys/class/hwmon/hwmon3"
CHIP = "sys/class/hwmon/hwmon1"
ORIN = {
    **BOARD,
    "proc/device-tree/model": "NVIDIA Jetson Orin NX Engineering Reference Developer Kit Super",
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0000-super\0nvidia,tegra234",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN_SUPER >\n< POWER_MODEL ID=3 NAME=25W >",
    "var/lib/nvpmodel/status": "pmode:0003",
    f"{ZONE}/trip_point_1_temp": 104500,
    f"{ZONE}/trip_point_1_type": "critical",
    f"{ZONE}/trip_point_2_temp": 70000,
    f"{ZONE}/trip_point_2_type": "passive",
    f"{COOLING}0/type": "cpu-throttle-alert",
    f"{COOLING}0/cur_state": 0,
    f"{COOLING}1/type": "hot-surface-alert",
    f"{COOLING}1/cur_state": 0,
    f"{COOLING}2/type": "devfreq-17000000.gpu",
    f"{COOLING}2/cur_state": 0,
    f"{COOLING}2/max_state": 10,
    f"{OC}/name": "soctherm_oc",
    f"{OC}/oc1_event_cnt": 0,
    f"{OC}/oc3_event_cnt": 27390,
    f"{CHIP}/name": "ina3221",
    f"{CHIP}/in1_label": "VDD_IN",
    f"{CHIP}/in1_input": 5000,
    f"{CHIP}/curr1_input": 1800,
}
MODE_0 = {"var/lib/nvpmodel/status": "pmode:0000"}
OK, WARN, ERROR = b"\0", b"\1", b"\2"


@pytest.fixture
def graph(tmp_path):
    opened = Graph(write_board(tmp_path, ORIN), throttling__hold=0.5)
    yield opened
    opened.close()


def history(graph, group):
    """The levels of a group in order, without repetitions."""
    levels = []
    for _, message in graph.arrays:
        for status in message.status:
            if status.name == f"jetson_diagnostics: {group}" and status.level not in levels[-1:]:
                levels.append(status.level)
    return levels


def test_heats_up_throttles_runs_short_of_current_and_cools_down(graph, tmp_path):
    def becomes(group, level, words, files):
        write_board(tmp_path, files)
        found = graph.wait_for(lambda f: f[group].level == level and words in f[group].message)
        return found[group].message

    # One thread reads the groups one after another: the board's comes last.
    quiet = graph.wait_for(
        lambda f: all(f[group].level == OK for group in ("temperature", "power", "board"))
    )
    assert quiet["board"].message == "Orin NX 16GB, L4T 36.4.3, JetPack 6.2, mode 25W"
    assert quiet["power"].message == "9.0 W, VDD_IN (whole module), budget 25 W"

    # The touch-temperature notice at 70 °C flickers: it is information, not a warning.
    for state in (1, 0, 1, 0):
        write_board(tmp_path, {f"{ZONE}/temp": 71000, f"{COOLING}1/cur_state": state})
        graph.wait_for(lambda f: "cpu 71.0" in f["temperature"].message)

    message = becomes("temperature", WARN, "cpu 95.5 °C", {f"{ZONE}/temp": 95500})
    assert message == "cpu 95.5 °C, 3.5 °C below throttling at 99 °C"
    for milli in (93800, 94100, 93500, 94200, 92000):  # around the threshold of 94 °C: one warning
        becomes("temperature", WARN, f"cpu {milli / 1e3:.1f} °C", {f"{ZONE}/temp": milli})

    hot = {f"{ZONE}/temp": 99400, f"{COOLING}0/cur_state": 1, f"{COOLING}2/cur_state": 3}
    message = becomes("throttling", WARN, "cpu-throttle-alert is active", hot)
    assert "devfreq-17000000.gpu capped by heat (step 3 of 10)" in message
    for ticks in (100, 181, 262):
        graph.speak(rate=81.3, ticks=ticks)
    found = graph.wait_for(lambda f: f["policy"].message.startswith("loop late"))
    assert "loop late: 81.3 of 100 Hz while" in found["policy"].message
    assert "throttling cpu-throttle-alert is active" in found["policy"].message
    for state in (0, 1, 0, 1):  # the alert flickers while the board is at its trip temperature
        write_board(tmp_path, {f"{COOLING}{i}/cur_state": state for i in (0, 2)})
        count = len(graph.arrays)
        graph.wait_for(lambda f, count=count: len(graph.arrays) > count + 1)

    message = becomes("throttling", ERROR, "oc1 events", {f"{OC}/oc1_event_cnt": 2})
    assert "under-voltage or over-current" in message
    becomes("temperature", ERROR, "the board switches off at 104.5 °C", {f"{ZONE}/temp": 102000})

    becomes("throttling", WARN, "cpu-throttle-alert is active", {})  # over-current has ended
    cool = {f"{ZONE}/temp": 60000, f"{COOLING}0/cur_state": 0, f"{COOLING}2/cur_state": 0}
    becomes("temperature", OK, "cpu 60.0 °C", cool)
    becomes("throttling", OK, "not throttled", {})

    assert history(graph, "temperature") == [OK, WARN, ERROR, OK]
    assert history(graph, "throttling") == [OK, WARN, ERROR, WARN, OK]
    assert history(graph, "power") == [OK]

    becomes("board", WARN, "power mode changed from 25W to MAXN_SUPER", MODE_0)
    keys = {
        (status.name, *(pair.key for pair in status.values))
        for _, message in graph.arrays
        for status in message.status
        if status.name.startswith("jetson_diagnostics")
    }
    assert len(keys) == 11, sorted(keys)  # eleven statuses, each with its own keys throughout
