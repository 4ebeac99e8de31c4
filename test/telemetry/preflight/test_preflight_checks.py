"""What `doctor` says of a host, on trees of a few files: each check, good and bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_board import write_board

from policy_runner.telemetry.host_files import HostFiles
from policy_runner.telemetry.preflight.advice import HostAdvice, cores_text, size_text
from policy_runner.telemetry.preflight.check_host import check_host

CPU = "sys/devices/system/cpu"
KERNEL = "proc/sys/kernel"
LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max locked memory         {memory}              {memory}              bytes
Max realtime priority     {priority}                    {priority}
"""
# A robot's computer as it should be.
GOOD: dict[str, Any] = {
    "proc/self/limits": LIMITS.format(memory="unlimited", priority=98),
    "proc/self/status": "Name:\tpython\nCapEff:\t0000000000000000",
    "proc/self/cgroup": "0::/user.slice",
    "proc/self/mounts": "tmpfs /dev/shm tmpfs rw,nosuid,nodev,size=2097152k 0 0",
    "proc/version": "Linux version 6.8.1-rt (x) #1 SMP PREEMPT_RT Mon",
    "proc/cmdline": "quiet",
    f"{KERNEL}/sched_rt_runtime_us": 950000,
    f"{KERNEL}/sched_rt_period_us": 1000000,
    "proc/sys/net/core/rmem_max": 8388608,
    "proc/sys/net/core/wmem_max": 8388608,
    "proc/sys/net/core/rmem_default": 212992,
    f"{CPU}/online": "0-7",
    f"{CPU}/present": "0-7",
    f"{CPU}/isolated": "6-7",
    f"{CPU}/cpufreq/policy0/scaling_governor": "performance",
    f"{CPU}/cpu0/cpuidle/state0/name": "POLL",
    f"{CPU}/cpu0/cpuidle/state0/latency": 0,
    f"{CPU}/cpu0/cpuidle/state1/name": "C1",
    f"{CPU}/cpu0/cpuidle/state1/latency": 2,
    "proc/irq/24/smp_affinity_list": "0-7",
    "proc/irq/24/effective_affinity_list": "3",
    "proc/irq/25/effective_affinity_list": "0-5",
}
# What an Orin adds, with its clocks held and no limit.
ORIN: dict[str, Any] = {
    "proc/device-tree/compatible": "nvidia,p3767-0000\0nvidia,tegra234",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN_SUPER >\n< POWER_MODEL ID=1 NAME=15W >",
    "var/lib/nvpmodel/status": "pmode:0000",
    f"{CPU}/cpufreq/policy0/scaling_min_freq": 1984000,
    f"{CPU}/cpufreq/policy0/scaling_max_freq": 1984000,
    "sys/class/devfreq/17000000.gpu/min_freq": 918000000,
    "sys/class/devfreq/17000000.gpu/max_freq": 918000000,
}


def found(
    root: Path, changes: dict[str, Any], base: dict[str, Any] | None = None, fifo: Any = None
) -> dict[str, HostAdvice]:
    """The findings by subject; a value None removes a file of the base."""
    files = {**(GOOD if base is None else base), **changes}
    write_board(root, {path: value for path, value in files.items() if value is not None})
    return {one.what: one for one in check_host(HostFiles(str(root)), fifo)}


def test_a_good_host_has_nothing_to_do(tmp_path: Path) -> None:
    advice = found(tmp_path, {})
    assert {one.what: one.level for one in advice.values()} == dict.fromkeys(advice, "ok")
    assert len(advice) == 10
    assert all(len(one.why) > 20 for one in advice.values())


def test_a_good_jetson_has_nothing_to_do(tmp_path: Path) -> None:
    advice = found(tmp_path, ORIN)
    assert {one.what: one.level for one in advice.values()} == dict.fromkeys(advice, "ok")
    assert advice["clock locks"].text == "held: cpu 0 1984 MHz, gpu 918 MHz"
    assert advice["power mode"].text == "MAXN_SUPER"


def test_an_empty_tree_is_reported_and_breaks_nothing(tmp_path: Path) -> None:
    advice = found(tmp_path, {}, base={})
    assert "problem" not in {one.level for one in advice.values()}
    assert advice["governor"].text == "none: firmware or a hypervisor sets the clocks"
    assert advice["kernel preemption"].level == "missing"


@pytest.mark.parametrize(
    ("what", "changes", "level", "text", "remedy"),
    [
        (
            "real-time priority",
            {"proc/self/limits": LIMITS.format(memory=1, priority=0)},
            "missing", "at most 0", "--ulimit rtprio=98",
        ),
        (
            "locked memory",
            {"proc/self/limits": LIMITS.format(memory=8388608, priority=0)},
            "missing", "at most 8.39 MB", "LimitMEMLOCK=infinity",
        ),
        (
            "locked memory",
            {"proc/self/limits": LIMITS.format(memory=0, priority=0),
             "proc/self/status": "CapEff:\t0000000000004000"},
            "ok", "CAP_IPC_LOCK", "",
        ),
        (
            "real-time throttling", {f"{KERNEL}/sched_rt_runtime_us": -1},
            "missing", "off: a real-time thread that never sleeps", "sched_rt_runtime_us=950000",
        ),
        (
            "real-time throttling", {f"{KERNEL}/sched_rt_runtime_us": 500000},
            "missing", "50 % of 1 s", "sched_rt_runtime_us=950000",
        ),
        (
            "real-time throttling", {f"{KERNEL}/sched_rt_runtime_us": 0},
            "problem", "no real-time thread runs", "sched_rt_runtime_us=950000",
        ),
        (
            "real-time throttling",
            {"proc/self/cgroup": "4:cpuacct,cpu:/docker/abc\n1:cpuset:/docker/abc",
             "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.rt_runtime_us": 0},
            "problem", "SCHED_FIFO is refused",
            "sudo tee /sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.rt_runtime_us",
        ),
        (
            "real-time throttling",
            {"proc/self/cgroup": "1:cpu:/", "sys/fs/cgroup/cpu/cpu.rt_runtime_us": 950000},
            "ok", "95 % of 1 s", "",
        ),
        (
            "kernel preemption",
            {"proc/version": "Linux version 5.15.0-1 (x) #1 SMP Mon"},
            "missing", "none (5.15.0-1)", "linux-image-rt-amd64",
        ),
        (
            "kernel preemption",
            {"proc/version": "Linux version 6.1.0 #1 SMP PREEMPT_DYNAMIC x",
             "proc/cmdline": "quiet preempt=voluntary"},
            "missing", "PREEMPT_DYNAMIC, voluntary (6.1.0)", "`preempt=full`",
        ),
        (
            "kernel preemption",
            {"proc/version": "Linux version 6.1.0 #1 SMP PREEMPT_DYNAMIC x",
             "proc/cmdline": "preempt=full"},
            "ok", "PREEMPT_DYNAMIC, full (6.1.0); not real-time", "for the rarest delays",
        ),
        (
            "kernel preemption", {"proc/version": "Linux version 5.15.1-tegra #1 SMP PREEMPT x"},
            "ok", "PREEMPT (5.15.1-tegra)", "for the rarest delays",
        ),
        (
            "kernel preemption", {"proc/version": None, "sys/kernel/realtime": 1},
            "ok", "PREEMPT_RT", "",
        ),
        (
            "isolated cores", {f"{CPU}/isolated": ""},
            "missing", "none of 8", "isolcpus=6-7 nohz_full=6-7 irqaffinity=0-5",
        ),
        (
            "isolated cores", {f"{CPU}/isolated": "", f"{CPU}/online": "0-1"},
            "ok", "none of 2: too few", "",
        ),
        ("isolated cores", {}, "ok", "6-7 of 8", "realtime.cpu_affinity: [6, 7]"),
        (
            "interrupts", {"proc/irq/26/effective_affinity_list": "7"},
            "missing", "1 of 3 on isolated cores: 26", "echo 0-5 | sudo tee /proc/irq/NUMBER",
        ),
        (
            "interrupts", {"proc/irq/24/effective_affinity_list": None},
            "missing", "1 of 2 on isolated cores: 24", "irqaffinity=0-5",
        ),
        (
            "governor", {f"{CPU}/cpufreq/policy4/scaling_governor": "schedutil"},
            "missing", "performance (cpu 0), schedutil (cpu 4)", "cpupower frequency-set",
        ),
        (
            "idle states",
            {f"{CPU}/cpu3/cpuidle/state2/name": "C6", f"{CPU}/cpu3/cpuidle/state2/latency": 133},
            "missing", "deepest enabled: C6, 133 us", "idle-set --disable-by-latency 50",
        ),
        (
            "idle states",
            {f"{CPU}/cpu3/cpuidle/state2/latency": 133, f"{CPU}/cpu3/cpuidle/state2/disable": 1},
            "ok", "deepest enabled: C1, 2 us", "",
        ),
        (
            "socket buffers", {"proc/sys/net/core/rmem_max": 212992},
            "missing", "receive at most 213 kB, send at most 8.39 MB", "net.core.rmem_max=8388608",
        ),
        (
            "shared memory", {"proc/self/mounts": "shm /dev/shm tmpfs rw,size=65536k 0 0"},
            "missing", "67.1 MB", "--shm-size 512m",
        ),
        (
            "shared memory",
            {"proc/self/mounts": "t /dev/shm tmpfs rw,relatime 0 0",
             "proc/meminfo": "MemTotal:       16000000 kB"},
            "ok", "8.19 GB", "",
        ),
        (
            "shared memory",
            {"proc/self/mounts": "t /dev/shm tmpfs rw,size=50% 0 0",
             "proc/meminfo": "MemTotal:       400000 kB", "dev/shm/fastrtps_1": "",
             "dev/shm/fastdds_2": ""},
            "missing", "205 MB, 2 files of Fast DDS", "remount,size=512M",
        ),
        ("shared memory", {"proc/self/mounts": "t /dev/shm tmpfs ro 0 0"},
         "missing", "read-only", "remount"),
        ("shared memory", {"proc/self/mounts": "t / ext4 rw 0 0"},
         "missing", "not mounted", "remount"),
    ],
)  # fmt: skip
def test_each_check(
    tmp_path: Path, what: str, changes: dict[str, Any], level: str, text: str, remedy: str
) -> None:
    advice = found(tmp_path, changes)[what]
    assert advice.level == level, advice
    assert text in advice.text
    assert remedy in advice.help
    assert bool(remedy) or not advice.help


@pytest.mark.parametrize(
    ("what", "changes", "text", "remedy"),
    [
        ("governor", {f"{CPU}/cpufreq/policy0/scaling_governor": "schedutil"},
         "schedutil (cpu 0)", "power clocks on"),
        ("clock locks", {f"{CPU}/cpufreq/policy0/scaling_min_freq": 729600},
         "not held: cpu 0 from 730 to 1984 MHz", "power clocks on"),
        ("clock locks", {"sys/class/devfreq/17000000.gpu/min_freq": 306000000},
         "gpu from 306 to 918 MHz", "power clocks on"),
        ("power mode", {"var/lib/nvpmodel/status": "pmode:0001"}, "15W", "power list"),
        ("power mode", {f"{CPU}/online": "0-3"}, "MAXN_SUPER, cores 4-7 are off", "power list"),
        ("kernel preemption", {"proc/version": "Linux version 5.15.148-tegra #1 SMP x"},
         "none (5.15.148-tegra)", "nvidia-l4t-rt-kernel"),
    ],
)  # fmt: skip
def test_each_check_of_a_jetson(
    tmp_path: Path, what: str, changes: dict[str, Any], text: str, remedy: str
) -> None:
    advice = found(tmp_path, {**ORIN, **changes})[what]
    assert advice.level == "missing", advice
    assert text in advice.text
    assert remedy in advice.help


@pytest.mark.parametrize(
    ("refusal", "level", "text"),
    [("", "ok", "granted"), ("Operation not permitted", "missing", "refused: Operation not")],
)
def test_a_priority_that_was_tried_counts_more_than_the_limit(
    tmp_path: Path, refusal: str, level: str, text: str
) -> None:
    limits = {"proc/self/limits": LIMITS.format(memory=1, priority=0 if not refusal else 99)}
    advice = found(tmp_path, limits, fifo=lambda: refusal)["real-time priority"]
    assert advice.level == level
    assert text in advice.text


def test_trying_a_priority_leaves_this_process_as_it_is() -> None:
    import os

    from policy_runner.ros.process.realtime import fifo_refusal

    before = os.sched_getscheduler(0)
    assert isinstance(fifo_refusal(), str)
    assert os.sched_getscheduler(0) == before


def test_a_check_that_fails_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from policy_runner.telemetry.preflight import check_host as module

    def bad(*_arguments: Any) -> None:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(module, "throttling", bad)
    advice = found(tmp_path, {})
    assert advice["real-time throttling"].level == "problem"
    assert "ZeroDivisionError: odd" in advice["real-time throttling"].text
    assert advice["shared memory"].level == "ok"


@pytest.mark.parametrize(
    ("cores", "text"),
    [([], "none"), ([3], "3"), ([0, 1, 2, 5], "0-2,5"), ([7, 6, 1], "1,6-7"), ([1, 1], "1")],
)
def test_core_lists(cores: list[int], text: str) -> None:
    from policy_runner.telemetry.host.cpu import core_list

    assert cores_text(cores) == text
    assert sorted(set(cores)) == (core_list(text) if cores else [])


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (212992, "213 kB"), (2.5e9, "2.5 GB")]
)
def test_sizes(size: float, text: str) -> None:
    assert size_text(size) == text
