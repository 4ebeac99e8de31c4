"""The groups of the sidecar: each has a reader, and a judge of the cached reading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from policy_runner.telemetry.host.board import BoardState, BoardVerdict
from policy_runner.telemetry.host.cpu import CpuReader, CpuVerdict
from policy_runner.telemetry.host.disk import DiskReader, DiskVerdict
from policy_runner.telemetry.host.engines import EnginesReader, judge_engines
from policy_runner.telemetry.host.fan import FanReader, judge_fan
from policy_runner.telemetry.host.gpu import GpuReader, judge_gpu
from policy_runner.telemetry.host.identity import Identity, read_jetson, uptime
from policy_runner.telemetry.host.memory import MemoryReader, MemoryVerdict
from policy_runner.telemetry.host.power import PowerReader, PowerState, PowerVerdict
from policy_runner.telemetry.host.power_mode import PowerModeReader, nvpmodel_query
from policy_runner.telemetry.host.thermal import ThermalReader, ThermalThresholds, ThermalVerdict
from policy_runner.telemetry.host.throttling import ThrottlingReader, ThrottlingVerdict
from policy_runner.telemetry.host_files import HostFiles
from policy_runner.telemetry.sampler import Read, Sample
from policy_runner.telemetry.verdict import STALE, Verdict

Judge = Callable[[Any, Mapping[str, Any]], Verdict]


@dataclass
class Group:
    """One published status."""

    read: Read
    judge: Judge  # gets (reading, parameters by name)
    keys: tuple[str, ...] = ()  # keys of the last verdict

    def verdict(self, sample: Sample[object], parameters: Mapping[str, Any]) -> Verdict:
        """Judge the cached sample; a stale sample shows its keys without values."""
        if sample.stale:
            return Verdict(STALE, sample.stale, dict.fromkeys(self.keys, "n/a: stale"))
        verdict = self.judge(sample.value, parameters)
        self.keys = tuple(verdict.values)
        return verdict


def make_groups(
    files: HostFiles, parameters: Mapping[str, Any], identity: Identity
) -> dict[str, Group]:
    """Return the groups by name, in the order of the published statuses.

    Args:
        files: of the machine.
        parameters: of the sidecar, by name.
        identity: of the machine.
    """
    return {**_host_groups(files, parameters), **_board_groups(files, identity)}


def _host_groups(files: HostFiles, parameters: Mapping[str, Any]) -> dict[str, Group]:
    cpu, memory, disk, thermal = (
        CpuVerdict(),
        MemoryVerdict(),
        DiskVerdict(),
        ThermalVerdict(),
    )
    return {
        "cpu": Group(
            CpuReader(files).read,
            lambda r, p: cpu.judge(r, p["cpu.warn_load"], p["cpu.clear"], p["cpu.warn_core"]),
        ),
        "memory": Group(
            MemoryReader(files).read,
            lambda r, p: memory.judge(
                r, p["memory.warn_used"], p["memory.error_used"], p["memory.clear"]
            ),
        ),
        "temperature": Group(
            ThermalReader(files).read,
            lambda r, p: thermal.judge(r, _thermal_thresholds(p)),
        ),
        "disk": Group(
            DiskReader(files, parameters["disk.paths"]).read,
            lambda r, p: disk.judge(r, p["disk.warn_used"], p["disk.error_used"], p["disk.clear"]),
        ),
    }


def _board_groups(files: HostFiles, identity: Identity) -> dict[str, Group]:
    # nvpmodel describes this machine, so it is not used for files in another folder.
    query = nvpmodel_query if files.root == "/" else lambda: ""
    rails, modes = PowerReader(files), PowerModeReader(files, query)
    throttling, power = ThrottlingVerdict(), PowerVerdict()
    board = BoardVerdict(identity, read_jetson(files, identity))
    # A second reader of the power mode: while one group hangs, another thread reads the others.
    board_modes = PowerModeReader(files, query)
    return {
        "power": Group(
            lambda now: PowerState(rails.read(now), modes.read(now)),
            lambda r, p: power.judge(r, p["power.budget"], p["power.warn_share"], p["power.clear"]),
        ),
        "throttling": Group(
            ThrottlingReader(files).read,
            lambda r, p: throttling.judge(r, p["throttling.oc_rate"], p["throttling.hold"]),
        ),
        "gpu": Group(GpuReader(files).read, lambda r, p: judge_gpu(r)),
        "engines": Group(EnginesReader(files).read, lambda r, p: judge_engines(r)),
        "fan": Group(FanReader(files).read, lambda r, p: judge_fan(r)),
        "board": Group(
            lambda now: BoardState(board_modes.read(now), uptime(files), now),
            lambda r, p: board.judge(r),
        ),
    }


def _thermal_thresholds(parameters: Mapping[str, Any]) -> ThermalThresholds:
    return ThermalThresholds(
        warn_margin=parameters["temperature.warn_margin"],
        error_margin=parameters["temperature.error_margin"],
        clear=parameters["temperature.clear"],
        generic_warn=parameters["temperature.generic_warn"],
        generic_error=parameters["temperature.generic_error"],
    )
