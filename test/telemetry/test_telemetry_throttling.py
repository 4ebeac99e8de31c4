"""What counts as throttling and what does not; GPU, fan, board and slowed inference."""

from __future__ import annotations

import time

import pytest

from policy_runner.telemetry.board_verdicts import BoardState, BoardVerdict, judge_fan, judge_gpu
from policy_runner.telemetry.fake_board import write_board
from policy_runner.telemetry.fan import FanReader
from policy_runner.telemetry.gpu import GpuReader
from policy_runner.telemetry.identity import Identity, read_identity
from policy_runner.telemetry.jetson_identity import Jetson, jetpack, l4t_version, read_jetson
from policy_runner.telemetry.power_mode import PowerMode, PowerModes
from policy_runner.telemetry.slowdown import SlowdownWatch
from policy_runner.telemetry.throttling import ThrottlingReader
from policy_runner.telemetry.throttling_verdict import ThrottlingVerdict
from policy_runner.telemetry.tree import Reading, Tree
from policy_runner.telemetry.verdict import ERROR, OK, WARN, Verdict

S = 1_000_000_000
COOLING = "sys/class/thermal/cooling_device"
OC = "sys/class/hwmon/hwmon6"


def device(number, kind, state, highest=4):
    base = f"{COOLING}{number}"
    return {f"{base}/type": kind, f"{base}/cur_state": state, f"{base}/max_state": highest}


class Watched:
    """A tree, its reader and its verdict, one second apart."""

    def __init__(self, root):
        self.root = root
        self.reader = ThrottlingReader(Tree(str(root)))
        self.verdict = ThrottlingVerdict()
        self.now = 0

    def step(self, files=None, seconds=1):
        write_board(self.root, files or {})
        self.now += seconds * S
        return self.verdict.judge(self.reader.read(self.now), 50.0, 5.0)


def test_alert_and_cap_are_throttling_and_are_held(tmp_path):
    board = Watched(tmp_path)
    cool = device(0, "gpu-throttle-alert", 0, 2) | device(1, "cpufreq-cpu0", 0, 28)
    assert board.step(cool).level == OK
    hot = board.step(device(0, "gpu-throttle-alert", 1, 2) | device(1, "cpufreq-cpu0", 3, 28))
    assert hot.level == WARN
    assert hot.message == (
        "gpu-throttle-alert is active; cpufreq-cpu0 capped by heat (step 3 of 28)"
    )
    levels = [board.step(cool).level for _ in range(7)]
    assert levels == [WARN] * 5 + [OK] * 2
    assert list(hot.values) == list(board.step().values)


def test_flickering_alert_is_one_warning(tmp_path):
    board = Watched(tmp_path)
    levels = [board.step(device(0, "cpu-throttle-alert", i % 2, 2)).level for i in range(20)]
    assert levels == [OK] + [WARN] * 19


@pytest.mark.parametrize(
    "files",
    [
        device(0, "hot-surface-alert", 1, 2),
        device(0, "pwm-fan", 4),
        {f"{OC}/name": "soctherm_oc", f"{OC}/oc3_throt_en": 1, f"{OC}/oc3_event_cnt": 27390},
        {"sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": 1},
    ],
)
def test_no_throttling(tmp_path, files):
    board = Watched(tmp_path)
    assert [board.step(files).level for _ in range(3)] == [OK] * 3


def counters(**counts):
    return {f"{OC}/name": "soctherm_oc"} | {
        f"{OC}/{name}_event_cnt": count for name, count in counts.items()
    }


def test_over_current_by_rate_not_by_count(tmp_path):
    board = Watched(tmp_path)
    board.step(counters(oc1=0, oc3=27390))
    some = board.step(counters(oc1=0, oc3=27450), seconds=2)
    assert (some.level, some.values["oc3 events [1/s]"]) == (OK, 30.0)
    many = board.step(counters(oc1=0, oc3=27510))
    assert (many.level, many.message) == (WARN, "oc3 over-current events, 60.0 a second")
    board.step(seconds=10)
    serious = board.step(counters(oc1=1, oc3=27510))
    assert serious.level == ERROR
    assert "oc1 events (under-voltage or over-current), 1.0 a second" in serious.message


def test_counter_set_to_zero_by_a_driver_reload_gives_no_negative_rate(tmp_path):
    board = Watched(tmp_path)
    board.step(counters(oc3=1000))
    assert board.step(counters(oc3=3)).values["oc3 events [1/s]"] == 3.0


def test_intel_counters_add_up_over_cores(tmp_path):
    board = Watched(tmp_path)
    file = "sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count"
    assert board.step({file.format(0): 5, file.format(1): 7}).level == OK
    got = board.step({file.format(0): 6, file.format(1): 9})
    assert (got.level, got.values["core_throttle events [1/s]"]) == (WARN, 3.0)


def test_host_that_tells_nothing_says_so(tmp_path):
    assert Watched(tmp_path).step().message == "this host tells nothing about throttling"


def test_gpu_found_after_the_service_started(tmp_path):
    reader = GpuReader(Tree(str(tmp_path)))
    assert judge_gpu(reader.read(0)).message == "GPU n/a: no GPU found"
    base = "sys/class/devfreq/17000000.ga10b"
    files = {f"{base}/cur_freq": 612000000, f"{base}/device/of_node/name": "ga10b"}
    write_board(tmp_path, files | {f"{base}/device/load": 373})
    got = [reader.read(second) for second in range(12)][-1]
    assert judge_gpu(got).message == "37 % at 612 MHz"


class FakeNvml:
    """NVML as a Thor answers: load, temperature and power, no clocks, no memory."""

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
    got = GpuReader(Tree(str(tmp_path)), nvml).read(0)
    assert (got.load.value, got.power.value) == (42.0, 1.965)
    assert got.clock.value == pytest.approx(315.0)
    assert got.source == "sysfs + NVML"
    assert got.memory_used.value is None
    nvml.reasons = 0x24
    verdict = judge_gpu(GpuReader(Tree(str(tmp_path)), nvml).read(0))
    assert (verdict.level, verdict.values["slowdown"]) == (
        WARN,
        "power cap, software thermal slowdown",
    )


def test_fan_that_stands_still_for_ten_seconds_is_an_error(tmp_path):
    base = "sys/class/hwmon/hwmon"
    files = {f"{base}0/name": "pwmfan", f"{base}0/pwm1": 128, f"{base}2/rpm": 0}
    write_board(tmp_path, files | {f"{base}2/name": "pwm_tach"})
    reader = FanReader(Tree(str(tmp_path)))
    levels = [judge_fan(reader.read(second * S)).level for second in range(13)]
    assert levels == [OK] * 11 + [ERROR] * 2
    write_board(tmp_path, {f"{base}2/rpm": 900})
    assert judge_fan(reader.read(14 * S)).message == "50 %, 900 turns a minute"
    write_board(tmp_path, {f"{base}2/rpm": 0, f"{base}0/pwm1_enable": 0})
    off = FanReader(Tree(str(tmp_path)))
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
        # The model never says Jetson here, as on JetPack 5 and 6.0.
        files = {"proc/device-tree/compatible": compatible, "proc/device-tree/model": "x"}
        tree = Tree(str(write_board(tmp_path, files)))
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


def clocks(mhz, load, throttling=OK):
    return {
        "gpu": Verdict(OK, "", {"clock [MHz]": mhz, "load [%]": load}),
        "throttling": Verdict(throttling, "", {}),
    }


def test_inference_slower_since_the_clock_went_down_while_idle():
    watch = SlowdownWatch()
    assert watch.sentence("TensorRT", 110.0, clocks(1020.0, 12.0)) == ""
    assert watch.sentence("TensorRT", 310.0, clocks(1020.0, 12.0)) == ""  # the clock is innocent
    got = watch.sentence("TensorRT", 310.0, clocks(306.0, 12.0))
    assert got == (
        "inference slower (0.11 to 0.31 ms) since the GPU clock went from 1020 to 306 MHz "
        "while idle"
    )
    assert watch.sentence("TensorRT", 310.0, clocks(306.0, 99.0, WARN)).endswith("by throttling")
    assert watch.sentence("CPUExecutionProvider", 310.0, clocks(306.0, 12.0)) == ""
    assert watch.sentence("TensorRT", None, {}) == ""


def test_reading_is_quick_on_this_host():
    readers = [reader(Tree("/")) for reader in (ThrottlingReader, GpuReader, FanReader)]
    begin = time.thread_time()
    for _ in range(10):
        for reader in readers:
            reader.read(0)
    assert (time.thread_time() - begin) / 10 < 0.02
