"""CPU, memory, disk and identity of an x86-like and an Orin-like tree."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from fake_board import write_board

from policy_runner.telemetry.host.cpu import CpuReader, CpuVerdict, core_list
from policy_runner.telemetry.host.disk import DiskReader, DiskVerdict
from policy_runner.telemetry.host.identity import read_identity, uptime
from policy_runner.telemetry.host.memory import MemoryReader, MemoryVerdict
from policy_runner.telemetry.host_files import HostFiles
from policy_runner.telemetry.verdict import ERROR, OK, WARN

CPUFREQ = "sys/devices/system/cpu/cpufreq"
STAT = "cpu  {0} 0 0 {1} 0 0 0 0 0 0\ncpu0 {2} 0 0 {3} 0 0 0 0 0 0\n{4}intr 1 2 3"
CORE1 = "cpu1 0 0 0 {0} 0 0 0 0 0 0\n"
MEMINFO = (
    "MemTotal: 1000000 kB\nMemFree: 5 kB\nMemAvailable: {} kB\n"
    "SwapTotal: 500000 kB\nSwapFree: 400000 kB"
)


def board(root, busy=0, idle=0, busy0=0, idle0=0, idle1=0, core1=True):
    stat = STAT.format(busy, idle, busy0, idle0, CORE1.format(idle1) if core1 else "")
    write_board(root, {"proc/stat": stat, "sys/devices/system/cpu/present": "0-1"})
    return HostFiles(str(root))


def test_load_is_the_delta_not_the_average_since_boot(tmp_path):
    tree = board(tmp_path, 1000, 9000, 1000, 4000, 5000)
    reader = CpuReader(tree)
    first = reader.read(0)
    assert first.load.value is None
    assert first.load.reason == "first sample"
    board(tmp_path, 1100, 9100, 1100, 4000, 5100)
    second = reader.read(1)
    assert second.load.value == 50.0
    assert [core.load.value for core in second.cores] == [100.0, 0.0]
    assert second.busiest.value == 100.0


def test_offline_core_keeps_its_keys_and_has_no_number(tmp_path):
    tree = board(tmp_path, 0, 100, 0, 50, 50)
    write_board(tmp_path, {f"{CPUFREQ}/policy0/scaling_cur_freq": 1728000})
    reader, verdict = CpuReader(tree), CpuVerdict()
    reader.read(0)
    board(tmp_path, 0, 200, 0, 100, 100)
    both = verdict.judge(reader.read(1), 90.0, 10.0)
    board(tmp_path, 0, 300, 0, 200, core1=False)
    one = verdict.judge(reader.read(2), 90.0, 10.0)
    assert list(both.values) == list(one.values)
    assert both.values["cpu1 clock [MHz]"] == pytest.approx(1728.0)
    assert one.values["cpu1 load [%]"] == "n/a: offline"
    assert one.values["cpu1 clock [MHz]"] == "n/a: offline"
    assert (both.values["cores online"], one.values["cores online"]) == (2, 1)


def test_clocks_belong_to_the_cores_of_their_policy(tmp_path):
    tree = board(tmp_path, 0, 1, 0, 1, 1)
    write_board(
        tmp_path,
        {
            f"{CPUFREQ}/policy0/scaling_cur_freq": 800000,
            f"{CPUFREQ}/policy1/scaling_cur_freq": 1600000,
            f"{CPUFREQ}/policy1/scaling_max_freq": 1700000,
            f"{CPUFREQ}/policy1/cpuinfo_max_freq": 2200000,
        },
    )
    got = CpuReader(tree).read(0)
    assert [core.clock.value for core in got.cores] == pytest.approx([800.0, 1600.0])
    assert got.clock_limit.value == pytest.approx(1700.0)
    assert got.hardware_limit.value == pytest.approx(2200.0)


def test_vanished_proc_stat_is_missing_not_zero(tmp_path):
    tree = board(tmp_path, 0, 1, 0, 1, 1)
    reader = CpuReader(tree)
    reader.read(0)
    os.remove(tmp_path / "proc/stat")
    assert reader.read(1).load.reason == "not there"


def test_saturation_does_not_flap(tmp_path):
    verdict, levels = CpuVerdict(), []
    for percent in (85, 91, 89, 91, 85, 81, 79, 85, 89):
        reader = CpuReader(board(tmp_path, 0, 0, 0, 0, 0))
        reader.read(0)
        board(tmp_path, percent, 100 - percent, percent, 100 - percent, 0)
        levels.append(verdict.judge(reader.read(1), 90.0, 10.0).level)
    assert levels == [OK, WARN, WARN, WARN, WARN, WARN, OK, OK, OK]


def test_one_core_that_stays_at_its_limit_is_a_warning(tmp_path):
    """The others idle, so the load of all cores shows nothing."""
    verdict, verdicts = CpuVerdict(), []
    for percent in (100, 50, *[100] * 6, 97, 85):
        reader = CpuReader(board(tmp_path, 0, 0, 0, 0, 0))
        reader.read(0)
        board(tmp_path, percent, 200 - percent, percent, 100 - percent, 100)
        verdicts.append(verdict.judge(reader.read(1), 90.0, 10.0, 98.0))
    assert [one.level for one in verdicts] == [OK] * 6 + [WARN, WARN, WARN, OK]
    assert verdicts[6].message == "50 % of 2 cores, busiest 100 %; at its limit: cpu0"
    assert verdicts[8].level == WARN  # 97: within `clear`


def test_the_message_does_not_repeat_the_name_of_its_status(tmp_path):
    reader = CpuReader(board(tmp_path, 0, 0, 0, 0, 0))
    reader.read(0)
    board(tmp_path, 100, 0, 100, 0, 0)
    message = CpuVerdict().judge(reader.read(1), 90.0, 10.0).message
    assert message == "saturated: 100 % of 2 cores, busiest 100 %"


def test_core_list():
    assert core_list("0-3,6") == [0, 1, 2, 3, 6]
    assert core_list("") == core_list("x") == []


def test_memory_in_megabytes_and_levels(tmp_path):
    tree, verdict = HostFiles(str(tmp_path)), MemoryVerdict()
    levels = []
    for available in (500_000, 90_000, 105_000, 130_000, 30_000):
        write_board(tmp_path, {"proc/meminfo": MEMINFO.format(available)})
        got = verdict.judge(MemoryReader(tree).read(0), 90.0, 96.0, 2.0)
        levels.append(got.level)
    assert levels == [OK, WARN, WARN, OK, ERROR]
    assert got.values["total [MB]"] == pytest.approx(1024.0)
    assert got.values["swap used [MB]"] == pytest.approx(102.4)
    assert got.values["GPU mapped [MB]"] == "n/a: not in /proc/meminfo"


def test_a_program_ended_for_want_of_memory_is_an_error_once(tmp_path):
    tree, verdict = HostFiles(str(tmp_path)), MemoryVerdict()
    levels = []
    for kills in (3, 3, 4, 4):
        files = {"proc/meminfo": MEMINFO.format(500_000), "proc/vmstat": f"a 1\noom_kill {kills}"}
        write_board(tmp_path, files)
        levels.append(verdict.judge(MemoryReader(tree).read(0), 90.0, 96.0, 2.0).level)
    assert levels == [OK, OK, ERROR, OK]


def test_no_meminfo_is_said(tmp_path):
    got = MemoryVerdict().judge(MemoryReader(HostFiles(str(tmp_path))).read(0), 90.0, 96.0, 2.0)
    assert got.values["available [MB]"] == "n/a: /proc/meminfo: not there"


def test_disk_counts_as_df_does(tmp_path):
    info = SimpleNamespace(f_frsize=4096, f_blocks=1_000_000, f_bfree=150_000, f_bavail=100_000)
    reader = DiskReader(HostFiles(str(tmp_path)), ["/", "/gone"], lambda path: info)
    got = reader.read(0).volumes[0]
    assert got.used_share.value == pytest.approx(100 * 850 / 950)
    assert got.free.value == pytest.approx(0.4096)
    real = DiskReader(HostFiles(str(tmp_path)), ["/gone"]).read(0)
    verdict = DiskVerdict().judge(real, 90.0, 97.0, 1.0)
    assert (verdict.level, verdict.message) == (WARN, "/gone: No such file or directory")


def test_identity_of_a_jetson_a_pc_and_a_machine_that_tells_nothing(tmp_path):
    jetson = write_board(
        tmp_path / "jetson",
        {
            "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
            "proc/device-tree/serial-number": "1421123045678\0",
            "proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0",
            "proc/sys/kernel/hostname": "robot7",
            "proc/uptime": "123.45 400.00",
        },
    )
    got = read_identity(HostFiles(str(jetson)))
    assert got.hardware_id == "robot7 NVIDIA Jetson AGX Orin Developer Kit 1421123045678"
    assert got.compatible == ("nvidia,p3737-0000+p3701-0005", "nvidia,tegra234")
    assert uptime(HostFiles(str(jetson))).value == 123.45
    pc = write_board(
        tmp_path / "pc",
        {
            "sys/class/dmi/id/sys_vendor": "ACME",
            "sys/class/dmi/id/product_name": "To Be Filled By O.E.M.",
            "proc/sys/kernel/hostname": "bench",
        },
    )
    assert read_identity(HostFiles(str(pc))).hardware_id == "bench ACME"
    assert read_identity(HostFiles(str(tmp_path / "none"))).hardware_id == ""


def test_this_host_reads():
    """On the real root of any machine the readers give values or reasons."""
    tree = HostFiles("/")
    reader = CpuReader(tree)
    reader.read(0)
    assert reader.read(1).cores
    assert MemoryReader(tree).read(0).total.value
    assert read_identity(tree).host
