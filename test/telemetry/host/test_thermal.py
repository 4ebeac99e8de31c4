"""Temperatures, and levels against the board's trips."""

from __future__ import annotations

import shutil

from fake_board import read_gated, write_board

from policy_runner.telemetry.host.thermal import ThermalReader, ThermalThresholds, ThermalVerdict
from policy_runner.telemetry.host_files import HostFiles
from policy_runner.telemetry.verdict import ERROR, OK, WARN

ZONE = "sys/class/thermal/thermal_zone"


def zone(number, kind, temp, *trips):
    """Return the files of one zone; `trips` are (temperature, type)."""
    files = {f"{ZONE}{number}/type": kind, f"{ZONE}{number}/temp": temp}
    for index, (value, trip) in enumerate(trips):
        files[f"{ZONE}{number}/trip_point_{index}_temp"] = value
        files[f"{ZONE}{number}/trip_point_{index}_type"] = trip
    return files


ORIN = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3",
    **zone(0, "cpu-thermal", 63625, (99000, "passive"), (104500, "critical"), (70000, "passive")),
    **zone(1, "gpu-thermal", "!EAGAIN", (99000, "passive"), (104500, "critical")),
    **zone(2, "tj-thermal", 63781),
}


def read(root, files=None):
    write_board(root, files or {})
    return ThermalReader(HostFiles(str(root), read_gated)).read(0)


def test_orin_zones_trips_and_margins(tmp_path):
    got = read(tmp_path, ORIN)
    cpu, gpu, tj = got.sensors
    assert (cpu.name, cpu.value.value, cpu.limits.source) == ("cpu", 63.625, "own")
    assert (cpu.limits.throttle, cpu.limits.critical) == (99.0, 104.5)
    assert cpu.margin.value == 99.0 - 63.625
    assert (gpu.value.value, gpu.value.reason) == (None, "switched off")
    # The junction zone has no trips, so the board's lowest ones count.
    assert (tj.limits.throttle, tj.limits.source) == (99.0, "board")
    assert got.hottest is not None
    assert got.hottest.name == "tj"


def test_hot_surface_notice_is_no_throttling_even_alone(tmp_path):
    only_surface = zone(0, "cpu-thermal", 72000, (70000, "passive"), (104500, "critical"))
    got = read(tmp_path, {"etc/nv_tegra_release": "x", **only_surface})
    assert got.sensors[0].limits.throttle is None
    assert ThermalVerdict().judge(got, ThermalThresholds()).level == OK


def test_a_pc_that_throttles_at_70_is_taken_at_its_word(tmp_path):
    got = read(tmp_path, zone(0, "soc-thermal", 66000, (70000, "passive")))
    assert got.sensors[0].limits.throttle == 70.0
    assert ThermalVerdict().judge(got, ThermalThresholds()).level == WARN


def test_bindings_tell_which_passive_trip_slows_down(tmp_path):
    files = zone(0, "cpu-thermal", 60000, (70000, "passive"), (82000, "passive"))
    files |= {f"{ZONE}0/cdev0_trip_point": 0, f"{ZONE}0/cdev0/type": "hot-surface-alert"}
    files |= {f"{ZONE}0/cdev1_trip_point": 1, f"{ZONE}0/cdev1/type": "cpufreq-cpu0"}
    assert read(tmp_path, files).sensors[0].limits.throttle == 82.0


def test_levels_follow_the_trips_with_hysteresis(tmp_path):
    verdict, levels = ThermalVerdict(), []
    for milli in (70000, 93900, 94000, 92000, 91100, 90900, 101500, 99000, 98400, 50000):
        files = zone(0, "cpu-thermal", milli, (99000, "passive"), (104500, "critical"))
        levels.append(verdict.judge(read(tmp_path, files), ThermalThresholds()).level)
    assert levels == [OK, OK, WARN, WARN, WARN, OK, ERROR, ERROR, WARN, OK]


def test_only_a_critical_trip_as_on_thor(tmp_path):
    thresholds = ThermalThresholds()
    got = read(tmp_path, zone(0, "cpu-thermal", 100000, (114500, "critical")))
    assert thresholds.levels(got.sensors[0].limits) == (104.5, 111.5)
    assert got.sensors[0].margin.value == 14.5


def test_generic_limits_only_where_the_board_tells_none(tmp_path):
    got = read(tmp_path, zone(0, "x86_pkg_temp", 91000))
    verdict = ThermalVerdict().judge(got, ThermalThresholds())
    assert (verdict.level, verdict.values["limits from"]) == (WARN, "generic")
    assert verdict.message == "x86_pkg_temp 91.0 °C, above the generic limit"


def test_switched_off_reports_and_constant_sensors_are_dropped(tmp_path):
    files = zone(0, "CPU-therm", 46500) | zone(1, "CV0-therm", -256000)
    files |= zone(2, "PMIC-Die", 100000)
    got = read(tmp_path, files)
    assert [sensor.name for sensor in got.sensors] == ["cpu", "cv0"]
    assert got.sensors[1].value.reason == "switched off (-256 °C)"
    assert got.hottest is not None
    assert got.hottest.value.value == 46.5


def test_pc_sensors_from_hwmon_not_twice(tmp_path):
    hwmon = "sys/class/hwmon/hwmon"
    files = zone(0, "acpitz", 40000) | {
        f"{hwmon}0/name": "coretemp",
        f"{hwmon}0/temp1_label": "Package id 0",
        f"{hwmon}0/temp1_input": 55000,
        f"{hwmon}0/temp1_crit": 100000,
        f"{hwmon}1/name": "acpitz",
        f"{hwmon}1/temp1_input": 40000,
        f"{hwmon}2/name": "odd_name",
        f"{hwmon}2/temp1_input": 40000,
        f"{hwmon}2/device/type": "acpitz",
        f"{hwmon}2/device/temp": 40000,
    }
    got = read(tmp_path, files)
    assert [s.name for s in got.sensors] == ["acpitz", "coretemp Package id 0"]
    assert got.sensors[1].limits.critical == 100.0


def test_a_zone_that_vanishes_keeps_its_keys_and_is_found_at_its_new_number(tmp_path):
    write_board(tmp_path, ORIN)
    reader = ThermalReader(HostFiles(str(tmp_path), read_gated))
    verdict = ThermalVerdict()
    before = verdict.judge(reader.read(0), ThermalThresholds())
    shutil.rmtree(tmp_path / f"{ZONE}2")
    for _ in range(2):
        got = verdict.judge(reader.read(1), ThermalThresholds())
        assert got.values["tj [C]"] == "n/a: not there"
        assert list(before.values) == list(got.values)
    write_board(tmp_path, zone(7, "tj-thermal", 50000))
    assert verdict.judge(reader.read(2), ThermalThresholds()).values["tj [C]"] == 50.0


def test_a_sensor_whose_driver_loads_late_appears(tmp_path):
    write_board(tmp_path, zone(0, "cpu-thermal", 40000))
    reader = ThermalReader(HostFiles(str(tmp_path)))
    assert len(reader.read(0).sensors) == 1
    write_board(tmp_path, zone(1, "gpu-thermal", 41000))
    assert [len(reader.read(i).sensors) for i in range(12)][-1] == 2


def test_no_sensor_at_all_is_ok_and_said(tmp_path):
    got = ThermalVerdict().judge(read(tmp_path), ThermalThresholds())
    assert (got.level, got.message) == (OK, "temperature n/a: no temperature sensor")
    assert ERROR not in got.values.values()
