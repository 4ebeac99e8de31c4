"""Rails, totals, budgets and power modes on small hand-written trees."""

from __future__ import annotations

import os

import pytest
from fake_board import write_board

from policy_runner.telemetry.host.power import PowerReader, PowerState, PowerVerdict, Rail, total
from policy_runner.telemetry.host.power_mode import (
    PowerMode,
    PowerModeReader,
    parse_conf,
    parse_query,
    parse_status,
    read_power_modes,
)
from policy_runner.telemetry.host_files import HostFiles, Reading, missing
from policy_runner.telemetry.verdict import OK, WARN

CHIP = "sys/class/hwmon/hwmon1"
CONF = """
# comment
< PARAM TYPE=CLOCK NAME=GPU >
<POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< PM_CONFIG DEFAULT=1 >
"""


def rail(name, watts):
    none = missing("x")
    power = none if watts is None else Reading(watts)
    return Rail(name, power, none, none)


def nano(root, milliamps=2000, **more):
    files = {f"{CHIP}/name": "ina3221", f"{CHIP}/in1_label": "VDD_IN"}
    files |= {f"{CHIP}/in1_input": 5000, f"{CHIP}/curr1_input": milliamps}
    files |= {"etc/nvpmodel.conf": CONF, "var/lib/nvpmodel/status": "pmode:0000"}
    return HostFiles(str(write_board(root, files | {f"{CHIP}/{k}": v for k, v in more.items()})))


def test_milliwatts_are_millivolts_times_milliamperes(tmp_path):
    reading = PowerReader(nano(tmp_path)).read(0)
    assert reading.total.value == pytest.approx(10.0)


def test_one_chip_seen_in_two_places_is_one_rail(tmp_path):
    nano(tmp_path)
    driver = tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon"
    driver.mkdir(parents=True)
    os.symlink(tmp_path / CHIP, driver / "hwmon1")
    assert len(PowerReader(HostFiles(str(tmp_path))).read(0).rails) == 1


def test_what_is_not_connected_and_the_sum_of_shunts_are_no_rails(tmp_path):
    more = {"in2_label": "NC", "in2_input": 0, "curr2_input": 0}
    more |= {"in3_label": "sum of shunt voltages", "in3_input": 7, "curr3_input": 7}
    reading = PowerReader(nano(tmp_path, **more)).read(0)
    assert [rail.name for rail in reading.rails] == ["VDD_IN"]


def test_two_monitors_with_one_label_are_two_rails(tmp_path):
    for number in (1, 2):
        chip = f"sys/class/hwmon/hwmon{number}"
        files = {f"{chip}/name": "ina238", f"{chip}/power1_input": number * 10**6}
        write_board(tmp_path, files)
    rails = PowerReader(HostFiles(str(tmp_path))).read(0).rails
    assert [(rail.name, rail.power.value) for rail in rails] == [("VIN", 1.0), ("VIN 2", 2.0)]


def test_ina238_without_label_and_without_power_register(tmp_path):
    files = {f"{CHIP}/name": "ina238", f"{CHIP}/in1_input": 12000, f"{CHIP}/curr1_input": 1500}
    reading = PowerReader(HostFiles(str(write_board(tmp_path, files)))).read(0)
    assert (reading.total.value, reading.total_is) == (18.0, "VIN (carrier input)")


def test_gated_rail_at_zero_is_a_zero_and_unreadable_is_none(tmp_path):
    tree = nano(tmp_path, 0)
    assert PowerReader(tree).read(0).total.value == 0.0
    (tmp_path / CHIP / "curr1_input").write_text("")
    assert PowerReader(tree).read(0).total.value is None


def test_totals_never_add_sub_rails_to_a_whole_one():
    assert total((rail("VDD_IN", 5.0), rail("VDD_SOC", 1.0)))[0].value == 5.0
    names = ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")
    got = total(tuple(rail(name, 1.0) for name in names))
    assert got[0].value == 6.0
    assert got[1].startswith("sum of GPU + CPU")
    assert total((rail("VDD_GPU_SOC", 1.0), rail("VDD_CPU_CV", None), rail("VIN_SYS_5V0", 1.0)))[
        0
    ] == missing("x")
    assert total((rail("VDD_SOC", 1.0),))[0].reason == "no rail carries the whole board"
    assert total(())[0].reason == "no power monitor on this host"


def judged(verdict, tree, **over):
    options = {"budget": 0.0, "share": 105.0, "clear": 5.0, **over}
    state = PowerState(PowerReader(tree).read(0), PowerModeReader(tree).read(0))
    return verdict.judge(state, options["budget"], options["share"], options["clear"])


def test_budget_comes_from_the_modes_name_and_peaks_do_not_count(tmp_path):
    verdict, levels = PowerVerdict(), []
    # 15 W mode; 5 V. One peak of 20 W among 12 W, then 16 W for long, then 15 W, then 14 W.
    for milliamps in [2400] * 4 + [4000] + [2400] * 5 + [3200] * 5 + [3000] * 5 + [2800] * 6:
        levels.append(judged(verdict, nano(tmp_path, milliamps)).level)
    assert levels[:12] == [OK] * 12
    assert levels[14] == WARN
    assert levels[15:19] == [WARN] * 4
    assert levels[-1] == OK
    assert levels == sorted(levels[:15]) + sorted(levels[15:], reverse=True)  # one warning


def test_no_budget_at_maxn_and_none_for_a_carrier_input(tmp_path):
    tree = nano(tmp_path, 9000)
    write_board(tmp_path, {"var/lib/nvpmodel/status": "pmode:0002 fmode:fanNull"})
    got = judged(PowerVerdict(), tree)
    assert (got.level, got.values["budget [W]"]) == (
        OK,
        "n/a: the power mode names none for this total",
    )
    assert judged(PowerVerdict(), tree, budget=30.0).level == WARN


def test_a_modes_watts_are_no_budget_for_the_carrier(tmp_path):
    tree = nano(tmp_path)
    write_board(tmp_path, {f"{CHIP}/name": "ina238", f"{CHIP}/power1_input": 40 * 10**6})
    (tmp_path / CHIP / "in1_label").unlink()
    got = judged(PowerVerdict(), tree)
    assert (got.level, got.values["total [W]"]) == (OK, 40.0)
    assert str(got.values["budget [W]"]).startswith("n/a")


def test_alarm_of_the_monitor_is_a_warning(tmp_path):
    got = judged(PowerVerdict(), nano(tmp_path, curr1_crit_alarm=1, curr1_max_alarm=0))
    assert (got.level, got.message) == (WARN, "current limit of VDD_IN is hit")


def test_mode_names_numbers_and_watts():
    modes, default = parse_conf(CONF)
    assert modes == (PowerMode(0, "15W"), PowerMode(1, "25W"), PowerMode(2, "MAXN_SUPER"))
    assert default == 1
    assert [mode.budget for mode in modes] == [15.0, 25.0, None]
    assert PowerMode(3, "MODE_30W_ALL").budget == 30.0
    assert parse_status("pmode:0002 fmode:fanNull") == 2
    assert parse_status("") is None
    text = "NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_15W_6CORE\n2\n"
    assert parse_query(text) == PowerMode(2, "MODE_15W_6CORE")
    assert parse_query("command not found") is None


def test_mode_by_name_through_an_absolute_link_below_the_root(tmp_path):
    files = {"etc/nvpmodel/nvpmodel_p3767.conf": CONF, "var/lib/nvpmodel/status": "pmode:0001"}
    write_board(tmp_path, files)
    os.symlink("/etc/nvpmodel/nvpmodel_p3767.conf", tmp_path / "etc/nvpmodel.conf")
    assert read_power_modes(HostFiles(str(tmp_path))).current == PowerMode(1, "25W")


def test_without_status_file_the_tool_is_asked_now_and_then(tmp_path):
    asked = []

    def query() -> str:
        asked.append(1)
        return "NV Power Mode: 120W\n1\n"

    reader = PowerModeReader(HostFiles(str(tmp_path)), query)
    got = [reader.read(second) for second in range(20)]
    assert {modes.current for modes in got} == {PowerMode(1, "120W")}
    assert len(asked) == 1
    assert "nvpmodel.conf" in PowerModeReader(HostFiles(str(tmp_path))).read(0).reason
