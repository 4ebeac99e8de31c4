"""Damaged readings, logs and recordings give n/a with a reason, or our own exceptions."""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from fuzzing import fuzz, mutated_bytes
from tegrastats import parse_line

from policy_runner.telemetry.host import (
    cpu,
    fan,
    gpu,
    memory,
    power,
    thermal,
    throttling,
)
from policy_runner.telemetry.host import (
    memory as emc,
)
from policy_runner.telemetry.host.identity import read_identity, read_jetson, uptime
from policy_runner.telemetry.host.power_mode import parse_conf, parse_query, parse_status
from policy_runner.telemetry.host_files import HostFiles
from policy_runner.telemetry.recording.diagnostics_cdr import read_diagnostics
from policy_runner.telemetry.recording.mcap import Unrecordable, read_recording

LINE = (
    b"01-02-2024 03:04:05 RAM 2448/7620MB (lfb 3x4MB) SWAP 0/3810MB (cached 0MB) CPU [1%@729,off,"
    b"0%@729] EMC_FREQ 0%@2133 GR3D_FREQ 0%@[305] cpu@47.1C tj@47.9C/50C VDD_IN 4636mW/4636mW"
)
CONF = (
    b"< POWER_MODEL ID=0 NAME=MAXN >\nCPU_ONLINE CORE_0 1\nGPU MAX_FREQ -1\n"
    b"< POWER_MODEL ID=1 NAME=15W >\nCPU_ONLINE CORE_1 0\n< PM_CONFIG DEFAULT=1 >\n"
    b"NV Power Mode: 15W\n1\nPM: 1\n"
)


def test_lines(tmp_path: Path) -> None:
    def read(content: bytes) -> None:
        text = content.decode("utf-8", "replace")
        parse_line(text)
        parse_conf(text)
        parse_status(text)
        parse_query(text)

    def make(rng: random.Random) -> bytes:
        if rng.random() < 0.02:
            return rng.choice((b"cpu@", b"RAM 1/", b"[1%,", b"< POWER", b"A 1")) * 20_000
        return mutated_bytes(rng, rng.choice((LINE, CONF)), [LINE, CONF])

    fuzz("tegrastats", tmp_path, make, read, ValueError)


def _diagnostics() -> bytes:
    def text(value: str) -> bytes:
        data = value.encode() + b"\0"
        return len(data).to_bytes(4, "little") + data + b"\0" * (-len(data) % 4)

    head = b"\0\x01\0\0" + bytes(8) + text("abc") + (1).to_bytes(4, "little") + b"\x01\0\0\0"
    return head + text("one") + text("two") + text("") + (1).to_bytes(4, "little") + text("key") * 2


def test_diagnostics(tmp_path: Path) -> None:
    whole = _diagnostics()
    assert read_diagnostics(whole)[1][0].values == {"key": "key"}

    def make(rng: random.Random) -> bytes:
        return mutated_bytes(rng, whole, [whole])

    assert fuzz("diagnostics", tmp_path, make, read_diagnostics, ValueError)["refused"]


@pytest.mark.skipif(find_spec("mcap") is None, reason="recordings need mcap")
def test_recordings(tmp_path: Path) -> None:
    from policy_runner.telemetry.recording.mcap import Recorder

    path = tmp_path / "whole.mcap"
    recorder = Recorder(path)
    for k in range(3):
        recorder.add(_diagnostics(), k)
    recorder.close()
    whole = path.read_bytes()
    mutated = tmp_path / "mutated.mcap"

    def read(content: bytes) -> None:
        mutated.write_bytes(content)
        list(read_recording(mutated))

    def make(rng: random.Random) -> bytes:
        return mutated_bytes(rng, whole, [whole])

    assert fuzz("recordings", tmp_path, make, read, Unrecordable)["refused"]


FILES = {
    "proc/stat": "cpu  10 0 10 100 0 0 0 0 0 0\ncpu0 10 0 10 100 0 0 0 0 0 0\n",
    "proc/meminfo": "MemTotal: 100 kB\nMemAvailable: 50 kB\nSwapTotal: 10 kB\nSwapFree: 5 kB\n",
    "proc/uptime": "123.45 200.0\n",
    "proc/mounts": "/dev/x / ext4 rw 0 0\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano\0",
    "proc/device-tree/compatible": "nvidia,p3768\0nvidia,tegra234\0",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "47000\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp": "99000\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_type": "passive\n",
    "sys/class/thermal/cooling_device0/type": "cpu-throttle-alert\n",
    "sys/class/thermal/cooling_device0/cur_state": "0\n",
    "sys/class/thermal/cooling_device0/max_state": "1\n",
    "sys/class/hwmon/hwmon1/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in1_input": "5000\n",
    "sys/class/hwmon/hwmon1/curr1_input": "1000\n",
    "sys/class/hwmon/hwmon1/curr1_crit": "5000\n",
    "sys/class/hwmon/hwmon2/name": "pwmfan\n",
    "sys/class/hwmon/hwmon2/pwm1": "128\n",
    "sys/devices/system/cpu/online": "0-3\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "729600\n",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "1510400\n",
    "sys/kernel/debug/bpmp/debug/clk/emc/rate": "2133000000\n",
}
_READERS = (cpu, fan, gpu, memory, power, thermal, throttling)


def _read_all(tree: HostFiles) -> None:
    identity = read_identity(tree)
    read_jetson(tree, identity)
    uptime(tree)
    emc.read_emc(tree)
    power.find_rails(tree)
    for module in _READERS:
        for name, made in vars(module).items():
            if (
                name.endswith("Reader")
                and isinstance(made, type)
                and made.__module__ in (module.__name__,)
            ):
                reader: Any = made(tree)
                for _ in range(2):
                    reader.read(1_000_000_000)


def test_trees(tmp_path: Path) -> None:
    contents = [text.encode() for text in FILES.values()]

    def read(given: dict[str, bytes]) -> None:
        def content(path: str) -> bytes:
            relative = path.removeprefix(f"{tmp_path}/")
            return given.get(relative, b"")

        _read_all(HostFiles(str(tmp_path), content))

    for name, text in FILES.items():
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def make(rng: random.Random) -> dict[str, bytes]:
        given = {name: text.encode() for name, text in FILES.items()}
        for name in rng.sample(list(given), rng.choice((1, 3, 12))):
            given[name] = mutated_bytes(rng, given[name], contents)
        return given

    fuzz("trees", tmp_path, make, read, ())
