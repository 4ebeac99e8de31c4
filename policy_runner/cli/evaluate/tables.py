"""An evaluation as tables in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from policy_runner.sim.evaluate.evaluation import Evaluation, SweepResult
from policy_runner.sim.evaluate.plan import CONDITIONS, RATE
from policy_runner.sim.evaluate.summary import FIGURES
from policy_runner.sim.evaluate.what_if import FIGURES_ONLY, UNNOTICED, WhatIf

_STYLES = {FIGURES_ONLY: "yellow", UNNOTICED: "yellow"}


def print_report(console: Console, found: Evaluation) -> None:
    """Print figures, sweeps, what-ifs and requirements."""
    subject = found.subject
    title = f"{subject['policy']['name']} on {subject['robot']['name']}"
    table = Table("figure", "", "", "", title=escape(title), title_justify="left", box=None)
    for name, figure in FIGURES.items():
        value = found.figures[name]
        if value is not None:
            table.add_row(name, number_text(value), figure.unit, figure.text)
    console.print(table)
    for sweep in found.sweeps:
        console.print(_sweep_table(sweep))
        console.print(margin_text(sweep), soft_wrap=True)
    for text, small in found.comparisons:
        style = "red" if small else "green"
        console.print(f"[{style}]{escape(text)}[/]", soft_wrap=True)
    if found.what_ifs:
        console.print(_what_if_table(found.what_ifs))
    for requirement, fulfilled in found.requirements:
        value = found.figures[requirement.name]
        got = "not measured" if value is None else number_text(value)
        mark = "[green]ok[/]" if fulfilled else "[red]FAIL[/]"
        console.print(f"{mark} {requirement}: {got}", soft_wrap=True)


def number_text(value: float | int) -> str:
    """A figure with three digits; whole numbers are exact."""
    return str(value) if isinstance(value, int) else f"{value:.3g}"


def unit_of(name: str) -> str:
    """The unit of a condition, or of the rate."""
    return "Hz" if name == RATE else CONDITIONS[name].unit


def margin_text(result: SweepResult) -> str:
    """The margins of a sweep in one sentence."""
    margin, name = result.margin, result.sweep.name
    unit = f" {unit_of(name)}".rstrip()
    parts = []
    if margin.low is not None or margin.falls_below is not None:
        parts.append(_side("down", margin.low, margin.falls_below, unit))
    if margin.high is not None or margin.falls_above is not None:
        parts.append(_side("up", margin.high, margin.falls_above, unit))
    return f"margin of {name}: {'; '.join(parts) or 'the sweep has only the nominal value'}"


def _side(word: str, last: float | None, falls: float | None, unit: str) -> str:
    if last is None:
        return f"it falls at {falls:g}{unit}"
    until = f"no fall {word} to {last:g}{unit}"
    return until if falls is None else f"{until}, falls at {falls:g}{unit}"


def _sweep_table(result: SweepResult) -> Table:
    unit = unit_of(result.sweep.name)
    head = f"{result.sweep.name} [{unit}]" if unit else result.sweep.name
    table = Table(escape(head), "falls", "share, 95 %", "stops", "vx_rmse", "wz_rmse", box=None)
    for value, one in zip(result.sweep.values, result.figures):
        low, high = one["fall_share_low"], one["fall_share_high"]
        cells = [
            "" if one[name] is None else number_text(one[name] or 0)
            for name in ("safe_stops", "vx_rmse", "wz_rmse")
        ]
        falls, episodes = one["falls"], one["episodes"]
        style = "red" if falls else ""
        table.add_row(
            f"{value:g}", f"{falls} of {episodes}", f"{low:.2f} to {high:.2f}", *cells, style=style
        )
    return table


def _what_if_table(found: list[WhatIf]) -> Table:
    table = Table("what if", "outcome", "noticed", "median [s]", "slowest [s]", "", box=None)
    table.columns[3].header, table.columns[4].header = r"median \[s]", r"slowest \[s]"
    for one in found:
        times = ["" if time is None else f"{time:.2f}" for time in (one.median_s, one.slowest_s)]
        table.add_row(
            escape(one.text), one.outcome, f"{one.noticed} of {one.episodes}", *times,
            escape(one.detail), style=_STYLES.get(one.outcome, ""),
        )  # fmt: skip
    return table
