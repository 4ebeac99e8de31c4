"""Causes that count as throttling, and those that do not; GPU, fan, board, slowed inference."""

from __future__ import annotations

import time

import pytest
from fake_board import write_board

from policy_runner.telemetry.host.fan import FanReader
from policy_runner.telemetry.host.gpu import GpuReader
from policy_runner.telemetry.host.throttling import ThrottlingReader, ThrottlingVerdict
from policy_runner.telemetry.host_files import HostFiles
from policy_runner.telemetry.runner.slowdown import SlowdownWatch
from policy_runner.telemetry.verdict import ERROR, OK, WARN, Verdict

S = 1_000_000_000
COOLING = "sys/class/thermal/cooling_device"
OC = "sys/class/hwmon/hwmon6"


def device(number, kind, state, highest=4):
    base = f"{COOLING}{number}"
    return {f"{base}/type": kind, f"{base}/cur_state": state, f"{base}/max_state": highest}


class Watched:
    """A tree of files with a reader and a verdict; each step is one second."""

    def __init__(self, root):
        self.root = root
        self.reader = ThrottlingReader(HostFiles(str(root)))
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


def test_touch_temperature_notice_is_shown_as_information(tmp_path):
    got = Watched(tmp_path).step(device(0, "hot-surface-alert", 1, 2))
    assert (got.level, got.values["hot surface notice"]) == (OK, 1.0)


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
    assert Watched(tmp_path).step().message == "this host reports nothing about throttling"


def clocks(mhz, load, throttling=OK):
    return {
        "gpu": Verdict(OK, "", {"clock [MHz]": mhz, "load [%]": load}),
        "throttling": Verdict(throttling, "", {}),
    }


def test_inference_slower_since_the_clock_went_down_while_idle():
    watch = SlowdownWatch()
    assert watch.sentence("TensorRT", 110.0, clocks(1020.0, 12.0)) == ""
    assert watch.sentence("TensorRT", 310.0, clocks(1020.0, 12.0)) == ""  # the clock did not change
    got = watch.sentence("TensorRT", 310.0, clocks(306.0, 12.0))
    assert got == (
        "inference slower (0.11 to 0.31 ms) since the GPU clock went from 1020 to 306 MHz "
        "while idle"
    )
    assert watch.sentence("TensorRT", 310.0, clocks(306.0, 99.0, WARN)).endswith("by throttling")
    assert watch.sentence("CPUExecutionProvider", 310.0, clocks(306.0, 12.0)) == ""
    assert watch.sentence("TensorRT", None, {}) == ""


def test_reading_is_quick_on_this_host():
    readers = [reader(HostFiles("/")) for reader in (ThrottlingReader, GpuReader, FanReader)]
    begin = time.thread_time()
    for _ in range(10):
        for reader in readers:
            reader.read(0)
    assert (time.thread_time() - begin) / 10 < 0.02
