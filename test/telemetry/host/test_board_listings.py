"""Listings of real boards, rebuilt as folders: identity, rails, zones, throttling, clocks.

The listings are next to the repository, not in it; without them these tests are skipped. The other
test files use small hand-written trees.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fake_board import manifest, read_gated, write_board

from policy_runner.telemetry.host.fan import FanReader
from policy_runner.telemetry.host.gpu import GpuReader
from policy_runner.telemetry.host.identity import Jetson, read_identity, read_jetson
from policy_runner.telemetry.host.memory import MemoryReader
from policy_runner.telemetry.host.power import PowerReader
from policy_runner.telemetry.host.power_mode import read_power_modes
from policy_runner.telemetry.host.thermal import ThermalReader
from policy_runner.telemetry.host.throttling import ThrottlingReader, ThrottlingVerdict
from policy_runner.telemetry.host_files import HostFiles
from policy_runner.telemetry.verdict import OK, WARN

LISTINGS = Path(__file__).resolve().parents[4] / "shared/data/jetson/sysfs_trees"
pytestmark = pytest.mark.skipif(not LISTINGS.is_dir(), reason="no board listings next to the repo")

NAMES = ("agx_orin_r36", "agx_thor_r38", "jp4_ina3221x_iio", "orin_nano_r36", "xavier_nx_r35")


class Board:
    """One listing as a folder; `origin` is C for captured values, F for filled-in ones."""

    def __init__(self, name, root):
        self.rows = manifest(LISTINGS / f"{name}.tsv")
        write_board(root, {path: value for path, (value, _) in self.rows.items()})
        self.tree = HostFiles(str(root), read_gated)

    def origin(self, *ends):
        """Return the origins of the rows with these endings as a string, for example `CF`."""
        found = [o for end in ends for p, (_, o) in self.rows.items() if p.endswith(end)]
        assert len(found) == len(ends), (ends, found)
        return "".join(found)

    def rails(self):
        return {rail.name: rail for rail in PowerReader(self.tree).read(0).rails}

    def zones(self):
        return {sensor.name: sensor for sensor in ThermalReader(self.tree).read(0).sensors}

    def jetson(self):
        return read_jetson(self.tree, read_identity(self.tree))


@pytest.fixture
def board(tmp_path):
    return lambda name: Board(name, tmp_path / name)


def watts(rails):
    return {name: round(rail.power.value, 4) for name, rail in rails.items()}


def test_orin_nano_identity_and_mode(board):
    nano = board("orin_nano_r36")
    assert nano.jetson() == Jetson("Orin", "", "36.4.3", "6.2")
    assert read_power_modes(nano.tree).current is None  # the listing has an id, no names
    assert "nvpmodel.conf" in read_power_modes(nano.tree).reason
    conf = "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >"
    write_board(Path(nano.tree.root), {"etc/nvpmodel.conf": conf})
    assert read_power_modes(nano.tree).current.name == "MAXN_SUPER"


def test_orin_nano_power_total_is_vdd_in_alone(board):
    nano = board("orin_nano_r36")
    power = PowerReader(nano.tree).read(0)
    assert [rail.name for rail in power.rails] == ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]
    assert power.total.value == pytest.approx(4.984 * 1.856)
    assert power.total_is == "VDD_IN (whole module)"
    assert nano.origin("in1_input", "curr1_input") == "CC"
    assert nano.origin("in3_input", "curr3_input") == "FC"  # VDD_SOC is half filled in
    assert not any(rail.alarm for rail in power.rails)


def test_orin_nano_zones_trips_margins(board):
    nano = board("orin_nano_r36")
    zones = nano.zones()
    assert set(zones) == {"cpu", "gpu", "cv0", "cv1", "cv2", "soc0", "soc1", "soc2", "tj"}
    for name in ("cv0", "cv1", "cv2"):
        assert (zones[name].value.value, zones[name].value.reason) == (None, "switched off")
    assert (zones["cpu"].limits.throttle, zones["cpu"].limits.critical) == (99.0, 104.5)
    assert zones["tj"].margin.value == pytest.approx(99.0 - 63.781)
    assert nano.origin("zone0/temp", "zone8/temp", "zone5/temp") == "CCF"


def test_orin_nano_over_current_since_boot_is_no_throttling_now(board):
    nano = board("orin_nano_r36")
    reader, verdict = ThrottlingReader(nano.tree), ThrottlingVerdict()
    assert verdict.judge(reader.read(0), 50.0, 5.0).level == OK
    second = reader.read(10**9)
    assert {c.name: c.count.value for c in second.counters} == {"oc1": 0, "oc2": 0, "oc3": 27390}
    got = verdict.judge(second, 50.0, 5.0)
    assert (got.level, got.values["oc3 events [1/s]"]) == (OK, 0.0)
    assert dict(second.alerts).keys() == {"cpu", "gpu"}
    assert [cap.name for cap in second.caps] == [
        "cpufreq-cpu0",
        "cpufreq-cpu4",
        "devfreq-17000000.gpu",
    ]
    assert second.hot_surface.value == 0


def test_orin_nano_clocks_fan_and_memory_clock_limit(board):
    nano = board("orin_nano_r36")
    gpu = GpuReader(nano.tree).read(0)
    assert (gpu.name, gpu.load.value, gpu.governor) == ("17000000.gpu", 0.0, "nvhost_podgov")
    assert gpu.clock.value == pytest.approx(1020.0)
    assert gpu.clock_low.value == pytest.approx(306.0)
    fan = FanReader(nano.tree).read(0)
    assert fan.drive.value == pytest.approx(100 * 78 / 255)
    assert fan.rpm.value == 2140
    assert MemoryReader(nano.tree).read(0).emc.cap.value == pytest.approx(3199.0)


def test_agx_orin_sums_three_rails_over_two_chips(board):
    agx = board("agx_orin_r36")
    assert agx.jetson() == Jetson("Orin", "", "", "")
    rails = agx.rails()
    # NC channels and the sum of shunt voltages are not rails.
    assert set(rails) == {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"}
    power = PowerReader(agx.tree).read(0)
    expected = 12.008 * 0.280 + 12.008 * 0.040 + 4.968 * 0.980
    assert power.total.value == pytest.approx(expected)
    assert power.total_is.startswith("sum of VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0")
    zones = agx.zones()
    assert (zones["tboard"].value.value, zones["tj"].value.value) == (37.5, 47.5)
    assert zones["tj"].limits.source == "none"
    assert zones["tj"].margin.reason == "no trips"
    gpu = GpuReader(agx.tree).read(0)
    assert (gpu.load.value, gpu.clock.value) == (0.0, None)


def test_thor_total_is_the_carrier_input_of_the_second_chip(board):
    thor = board("agx_thor_r38")
    assert thor.jetson() == Jetson("Thor", "", "38.2.2", "7.0")
    power = PowerReader(thor.tree).read(0)
    assert power.total.value == pytest.approx(20.986)  # its own power register, captured
    assert power.total_is == "VIN (carrier input)"
    assert thor.origin("hwmon4/power1_input", "hwmon4/in1_input") == "CF"
    assert watts(thor.rails()) == {
        "VIN": 20.986,
        "VDD_GPU": round(12.04 * 0.64, 4),
        "VDD_CPU_SOC_MSS": round(12.04 * 0.96, 4),
        "VIN_SYS_5V0": round(5.088 * 1.74, 4),
    }


def test_thor_zones_throttling_and_clocks(board):
    thor = board("agx_thor_r38")
    zones = thor.zones()
    assert zones["gpu"].value.reason == "switched off"
    assert zones["cpu"].limits.critical == 114.5
    assert zones["tj"].limits.source == "board"
    assert zones["tj"].margin.value == pytest.approx(114.5 - 55.1)
    reading = ThrottlingReader(thor.tree).read(0)
    assert reading.active_alerts == ["gpu"]
    assert [(c.name, c.step.value, c.steps.value) for c in reading.active_caps] == [
        ("devfreq-gpu-gpc-0", 18, 169)
    ]
    got = ThrottlingVerdict().judge(reading, 50.0, 5.0)
    assert got.level == WARN
    assert got.message.startswith("gpu-throttle-alert is active")
    assert reading.hot_surface.value is None
    gpu = GpuReader(thor.tree).read(0)
    assert (gpu.name, gpu.load.value) == ("gpu-gpc-0", None)
    assert "NVML" in gpu.load.reason
    assert gpu.clock.value == pytest.approx(315.0)
    emc = MemoryReader(thor.tree).read(0).emc
    assert (emc.clock.value, emc.cap.value) == pytest.approx((4266.0, 4266.0))
    assert FanReader(thor.tree).read(0).rpm.value == 1786


def test_xavier_nx_rails_zones_and_old_counters(board):
    nx = board("xavier_nx_r35")
    assert nx.jetson().family == "Xavier"
    power = PowerReader(nx.tree).read(0)
    assert power.total_is == "VDD_IN (whole module)"
    assert power.total.value == pytest.approx(4.968 * 0.556)
    assert nx.origin("hwmon4/in1_input") == "F"
    assert set(nx.zones()) == {"cpu", "gpu", "aux", "ao", "thermal-fan-est"}  # no PMIC-Die
    reading = ThrottlingReader(nx.tree).read(0)
    assert [counter.name for counter in reading.counters] == ["oc1", "oc2", "oc3"]
    gpu = GpuReader(nx.tree).read(0)
    assert (gpu.name, gpu.load.value) == ("17000000.gv11b", 0.0)
    assert gpu.clock.value == pytest.approx(114.75)
    fan = FanReader(nx.tree).read(0)
    assert (fan.drive.value, fan.rpm.reason) == (0.0, "no tachometer")


def test_jetpack_4_rail_in_its_own_units(board):
    old = board("jp4_ina3221x_iio")
    rail = old.rails()["VDD_IN"]
    assert rail.power.value == pytest.approx(4.321)  # the chip's register, not volts times amperes
    assert (rail.voltage.value, rail.current.value) == pytest.approx((5.0, 0.864))


@pytest.mark.parametrize("name", NAMES)
def test_one_cycle_of_all_readers_is_cheap(board, name):
    tree = board(name).tree
    readers = [
        reader(tree)
        for reader in (
            PowerReader,
            ThermalReader,
            ThrottlingReader,
            GpuReader,
            FanReader,
            MemoryReader,
        )
    ]
    begin = time.thread_time()
    for cycle in range(20):
        for reader in readers:
            reader.read(cycle * 10**9)
    assert (time.thread_time() - begin) / 20 < 0.020
