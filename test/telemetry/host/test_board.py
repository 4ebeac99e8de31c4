"""GPU, fan, identity and power mode of a board."""

from __future__ import annotations

import pytest
from fake_board import write_board

from policy_runner.telemetry.host.board import BoardState, BoardVerdict
from policy_runner.telemetry.host.fan import FanReader, judge_fan
from policy_runner.telemetry.host.gpu import GpuReader, judge_gpu
from policy_runner.telemetry.host.identity import (
    Identity,
    Jetson,
    jetpack,
    l4t_version,
    read_identity,
    read_jetson,
)
from policy_runner.telemetry.host.power_mode import PowerMode, PowerModes
from policy_runner.telemetry.host_files import HostFiles, Reading
from policy_runner.telemetry.verdict import ERROR, OK, WARN

S = 1_000_000_000


def test_gpu_found_after_the_service_started(tmp_path):
    reader = GpuReader(HostFiles(str(tmp_path)))
    assert judge_gpu(reader.read(0)).message == "n/a: no GPU found"
    base = "sys/class/devfreq/17000000.ga10b"
    files = {f"{base}/cur_freq": 612000000, f"{base}/device/of_node/name": "ga10b"}
    write_board(tmp_path, files | {f"{base}/device/load": 373})
    got = [reader.read(second) for second in range(12)][-1]
    assert judge_gpu(got).message == "37 % at 612 MHz"


class FakeNvml:
    """NVML as on a Thor: load, temperature and power, no clocks, no memory."""

    class NVMLError_NotSupported(Exception):
        pass

    reasons = 0

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetName(self, device):
        return b"NVIDIA Thor"

    def nvmlDeviceGetUtilizationRates(self, device):
        return type("Rates", (), {"gpu": 42})()

    def nvmlDeviceGetPowerUsage(self, device):
        return 1965

    def nvmlDeviceGetTemperature(self, device, sensor):
        return 36

    def nvmlDeviceGetCurrentClocksEventReasons(self, device):
        return self.reasons

    def nvmlDeviceGetClockInfo(self, device, kind):
        raise self.NVMLError_NotSupported

    nvmlDeviceGetMaxClockInfo = nvmlDeviceGetClockInfo

    def nvmlDeviceGetMemoryInfo(self, device):
        raise self.NVMLError_NotSupported


def test_thor_takes_load_from_nvml_and_clock_from_sysfs(tmp_path):
    base = "sys/class/devfreq/gpu-gpc-0"
    write_board(tmp_path, {f"{base}/cur_freq": 315000000, f"{base}/max_freq": 1575000000})
    nvml = FakeNvml()
    got = GpuReader(HostFiles(str(tmp_path)), nvml).read(0)
    assert (got.load.value, got.power.value) == (42.0, 1.965)
    assert got.clock.value == pytest.approx(315.0)
    assert got.source == "sysfs + NVML"
    assert got.memory_used.value is None
    nvml.reasons = 0x24
    verdict = judge_gpu(GpuReader(HostFiles(str(tmp_path)), nvml).read(0))
    assert (verdict.level, verdict.values["slowdown"]) == (
        WARN,
        "power cap, software thermal slowdown",
    )


def test_fan_that_stands_still_for_ten_seconds_is_an_error(tmp_path):
    base = "sys/class/hwmon/hwmon"
    files = {f"{base}0/name": "pwmfan", f"{base}0/pwm1": 128, f"{base}2/rpm": 0}
    write_board(tmp_path, files | {f"{base}2/name": "pwm_tach"})
    reader = FanReader(HostFiles(str(tmp_path)))
    levels = [judge_fan(reader.read(second * S)).level for second in range(13)]
    assert levels == [OK] * 11 + [ERROR] * 2
    write_board(tmp_path, {f"{base}2/rpm": 900})
    assert judge_fan(reader.read(14 * S)).message == "50 %, 900 rpm"
    write_board(tmp_path, {f"{base}2/rpm": 0, f"{base}0/pwm1_enable": 0})
    off = FanReader(HostFiles(str(tmp_path)))
    assert [judge_fan(off.read(s * S)).level for s in range(20)][-1] == OK


def test_boards_by_compatible(tmp_path):
    cases = {
        "nvidia,p3737-0000+p3701-0005\0nvidia,tegra234": ("Orin", "AGX Orin 64GB"),
        "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234": (
            "Orin",
            "Orin Nano 8GB",
        ),
        "nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264": (
            "Thor",
            "AGX Thor T5000",
        ),
        "nvidia,p3509-0000+p3668-0001\0nvidia,tegra194": ("Xavier", "Xavier NX"),
        "nvidia,p3737-0000+p3701-0000\0nvidia,tegra23x": ("Orin", "AGX Orin"),
        "raspberrypi,4-model-b\0brcm,bcm2711": ("", ""),
    }
    for compatible, expected in cases.items():
        # The model's text has no "Jetson", as on JetPack 5 and 6.0.
        files = {"proc/device-tree/compatible": compatible, "proc/device-tree/model": "x"}
        tree = HostFiles(str(write_board(tmp_path, files)))
        got = read_jetson(tree, read_identity(tree))
        assert (got.family, got.module) == expected


@pytest.mark.parametrize(
    ("line", "l4t", "pack"),
    [
        ("# R36 (release), REVISION: 4.7, GCID: 1, BOARD: generic", "36.4.7", "6.2.1"),
        ("# R38 (release), REVISION: 2.0, GCID: 1", "38.2.0", "7.0"),
        ("# R39 (release), REVISION: 2.0, GCID: 45755727", "39.2.0", "7.2"),
        ("# R35 (release), REVISION: 4.1, GCID: 1", "35.4.1", "5.1.2"),
        ("# R36 (release), REVISION: 9.9, GCID: 1", "36.9.9", "6"),
        ("", "", ""),
    ],
)
def test_l4t_and_jetpack(line, l4t, pack):
    assert l4t_version(line) == l4t
    assert jetpack(l4t) == pack


def test_changed_power_mode_is_told_for_a_minute():
    verdict = BoardVerdict(
        Identity("m", "", "h", ()), Jetson("Orin", "Orin NX 16GB", "36.4.3", "6.2")
    )

    def judge(name, second):
        modes = PowerModes((), PowerMode(0, name))
        return verdict.judge(BoardState(modes, Reading(1.0), second * S))

    assert judge("MAXN", 0).message == "Orin NX 16GB, L4T 36.4.3, JetPack 6.2, mode MAXN"
    changed = judge("15W", 1)
    assert (changed.level, changed.message) == (WARN, "power mode changed from MAXN to 15W")
    assert judge("15W", 62).level == OK
