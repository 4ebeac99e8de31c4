"""Memory controller clock of a Jetson; the exact rate and load are for root only."""

from __future__ import annotations

from dataclasses import dataclass

from policy_runner.telemetry.host_files import Reading, Tree, missing

_RATE = "sys/kernel/debug/bpmp/debug/clk/emc/rate"
_THOR = "sys/class/devfreq/bwmgr/cur_freq"
_LOADS = ("sys/kernel/debug/cactmon/mc_all", "sys/kernel/actmon_avg_activity/mc_all")
_CAPS = ("sys/kernel/nvpmodel_clk_cap/emc", "sys/kernel/nvpmodel_emc_cap/emc_iso_cap")
_HZ_TO_MHZ = 1e-6
_NOT_THERE = missing("not there")


@dataclass(frozen=True)
class EmcReading:
    """Clock [MHz], load [%] and the power mode's cap [MHz]."""

    clock: Reading = _NOT_THERE
    load: Reading = _NOT_THERE
    cap: Reading = _NOT_THERE


def read_emc(tree: Tree) -> EmcReading:
    """One sample; each missing figure says why."""
    clock = _first(tree, (_THOR, _RATE), _HZ_TO_MHZ)
    activity = _first(tree, _LOADS, 1.0)
    load = activity
    if activity.value is not None:
        # Activity counts in kHz of the memory clock.
        load = Reading(activity.value / (clock.value * 1e3) * 100.0) if clock.value else clock
    return EmcReading(clock, load, _first(tree, _CAPS, _HZ_TO_MHZ))


def _first(tree: Tree, files: tuple[str, ...], scale: float) -> Reading:
    reading = missing("not there")
    for file in files:
        reading = tree.number(file, scale)
        if reading.value is not None:
            break
    return reading
