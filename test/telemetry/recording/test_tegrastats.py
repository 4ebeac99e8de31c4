"""The offline parser: short samples of every JetPack, and every captured sample."""

from __future__ import annotations

from pathlib import Path

import pytest
from tegrastats import CpuCore, RailLine, parse_line

SAMPLES = Path(__file__).resolve().parents[4] / "shared/data/jetson/tegrastats"

JETPACK_4 = (
    "RAM 524/777MB (lfb 7x4MB) SWAP 98/2026MB (cached 28MB) CPU [47%@1420,off] EMC_FREQ 2%@1600 "
    "GR3D_FREQ 7%@1109 APE 150 MTS fg 1% bg 9% GPU@31.5C PMIC@100C VDD_IN 6140/5510 CV 0/0"
)
JETPACK_5 = "04-11-2025 10:36:27 CPU [0%@729] GR3D_FREQ 0%@[114] CV0@-256C tj@44.343C NC 0mW/0mW"
JETPACK_7 = (
    "08-08-2026 21:00:39 RAM 8/125MB (lfb 31x4MB) CPU [0%,5%,off]@2601 EMC_FREQ @4266 "
    "GR3D_FREQ 87%@[1574,1300] NVENC0_FREQ @1691 cpu@58.25C/61.75C "
    "VIN 124486mW/36487mW/124486mW FUTURE_TOKEN value"
)


def test_jetpack_4():
    got = parse_line(JETPACK_4)
    assert (got.ram_used, got.ram_total, got.swap_used, got.swap_total) == (524, 777, 98, 2026)
    assert got.cores == (CpuCore(47.0, 1420.0), CpuCore(None, None))
    assert (got.emc_load, got.emc_clock, got.gpu_load, got.gpu_clocks) == (2, 1600, 7, (1109,))
    assert got.temperatures == {"gpu": 31.5, "pmic": 100.0}
    assert got.rails == {"VDD_IN": RailLine(6.14, 5.51, None), "CV": RailLine(0.0, 0.0, None)}


def test_jetpack_5_drops_what_is_switched_off_or_not_connected():
    got = parse_line(JETPACK_5)
    assert got.time == "2025-04-11T10:36:27"
    assert got.gpu_clocks == (114,)
    assert got.temperatures == {"tj": 44.343}
    assert got.rails == {}


def test_jetpack_7_has_maxima_and_one_clock_for_all_cores():
    got = parse_line(JETPACK_7)
    assert got.cores == (CpuCore(0.0, 2601.0), CpuCore(5.0, 2601.0), CpuCore(None, None))
    assert (got.emc_load, got.emc_clock) == (None, 4266)
    assert (got.gpu_load, got.gpu_clocks) == (87, (1574, 1300))
    assert got.temperatures == {"cpu": 58.25}
    assert got.rails == {"VIN": RailLine(124.486, 36.487, 124.486)}
    assert got.swap_total is None


def test_a_line_of_something_else_tells_nothing():
    got = parse_line("hello")
    assert (got.cores, got.temperatures, got.rails, got.gpu_load) == ((), {}, {}, None)


def captured():
    if not SAMPLES.is_dir():
        return []
    lines = []
    for file in sorted(SAMPLES.iterdir()):
        for number, line in enumerate(file.read_text().splitlines()):
            if line and not line.startswith("#"):
                lines.append((f"{file.stem}:{number}", line.split("\t")[-1]))
    return lines


# Cores, temperatures, rails and GPU load of each one-line sample, read by hand.
SEEN = {
    "agx_orin_r39.2": (12, 4, 3, 12),
    "thor_r39_load": (4, 5, 4, 87),
    "thor_r39_idle": (3, 3, 2, None),
    "agx_orin_r36.4.4": (12, 5, 3, 0),
    "agx_orin_jp5": (12, 7, 4, 0),
    "orin_nano_r36.4.3": (6, 6, 3, 0),
    "xavier_nx_jp5.1.2": (6, 6, 3, 0),
    "xavier_nx_jp4": (6, 6, 3, 0),
    "agx_xavier_jp5": (8, 8, 6, 0),
    "agx_xavier_jp4": (8, 9, 6, 0),
    "nano_jp4": (4, 6, 3, 0),
}


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no tegrastats samples next to the repo")
def test_every_captured_line():
    lines = captured()
    assert len(lines) == 5 + 3 + 3 + 3 + len(SEEN)
    for name, line in lines:
        got = parse_line(line)
        assert got.cores, name
        assert all(core.load is None or 0 <= core.load <= 100 for core in got.cores), name
        assert got.rails, name
        assert got.temperatures, name
        assert all(-40 < value < 110 for value in got.temperatures.values()), name
        if name.startswith("thor_r38"):
            assert len(got.cores) == 14, name
            assert set(got.rails) == {"VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0", "VIN"}, name
            assert (got.gpu_load, got.emc_clock) == (None, None), name


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no tegrastats samples next to the repo")
def test_one_line_samples_as_read_by_eye():
    for row in (SAMPLES / "one_line_samples.tsv").read_text().splitlines():
        if row.startswith("#"):
            continue
        name, line = row.split("\t")[0], row.split("\t")[-1]
        got = parse_line(line)
        figures = (len(got.cores), len(got.temperatures), len(got.rails), got.gpu_load)
        assert figures == SEEN[name], name
