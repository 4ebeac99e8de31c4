"""Clocks of the engines from debugfs, and the profile of the fan, as jtop has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_board import write_board

from policy_runner.telemetry.host.engines import EnginesReader, judge_engines
from policy_runner.telemetry.host.fan import FanReader, judge_fan
from policy_runner.telemetry.host_files import HostFiles

CLOCKS = "sys/kernel/debug/clk"


def clock(name: str, rate: int, enabled: int) -> dict[str, object]:
    """The files of one clock."""
    return {f"{CLOCKS}/{name}/clk_rate": rate, f"{CLOCKS}/{name}/clk_enable_count": enabled}


def test_engines_with_their_clocks(tmp_path: Path) -> None:
    files = {
        **clock("nvenc", 1_065_600_000, 1),
        **clock("nvdec", 998_400_000, 0),
        **clock("dla0_core", 1_408_000_000, 2),
        **clock("vic", 0, 0),
        **clock("se", 473_600_000, 1),
        # No engines: a parent of one, and clocks whose names only begin alike.
        **clock("nvdec.buf", 1, 1),
        **clock("sensor", 1, 1),
        **clock("aperture", 1, 1),
    }
    verdict = judge_engines(EnginesReader(HostFiles(str(write_board(tmp_path, files)))).read(0))
    assert verdict.values == pytest.approx(
        {
            "dla0_core [MHz]": 1408.0,
            "nvdec [MHz]": 0.0,
            "nvenc [MHz]": 1065.6,
            "se [MHz]": 473.6,
            "vic [MHz]": 0.0,
        }
    )
    assert verdict.message == "dla0_core at 1408 MHz, nvenc at 1066 MHz, se at 474 MHz"


def test_without_debugfs_the_status_says_why(tmp_path: Path) -> None:
    verdict = judge_engines(EnginesReader(HostFiles(str(tmp_path))).read(0))
    assert (verdict.level, verdict.message) == (0, "engines n/a: needs root, and a Jetson")
    write_board(tmp_path, clock("osc", 1, 1))
    verdict = judge_engines(EnginesReader(HostFiles(str(tmp_path))).read(0))
    assert verdict.message == "engines n/a: no such engines"


def test_the_fan_has_its_profile(tmp_path: Path) -> None:
    conf = "<FAN 1> {\n}\n\nFAN_DEFAULT_CONTROL close_loop\n\tFAN_DEFAULT_PROFILE cool\n"
    write_board(tmp_path, {"etc/nvfancontrol.conf": conf})
    assert judge_fan(FanReader(HostFiles(str(tmp_path))).read(0)).values["profile"] == "cool"
    (tmp_path / "etc/nvfancontrol.conf").unlink()
    assert judge_fan(FanReader(HostFiles(str(tmp_path))).read(0)).values["profile"] == "n/a"
