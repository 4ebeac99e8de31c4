"""An evaluation as a picture: a panel for tracking, one for each sweep, one for the what-ifs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from policy_runner.cli.drawing.style import BLUE, GREEN, INK, ORANGE, RED, drawing
from policy_runner.cli.evaluate.tables import margin_text, unit_of
from policy_runner.sim.evaluate.evaluation import Evaluation, SweepResult
from policy_runner.sim.evaluate.measured import DELAY, Measured
from policy_runner.sim.evaluate.plan import RATE
from policy_runner.sim.evaluate.what_if import FALLS, FIGURES_ONLY, REFUSED, STOPS, UNNOTICED

PALE = "#e6e9ee"
_COLOURS = {FALLS: RED, STOPS: ORANGE, REFUSED: GREEN, FIGURES_ONLY: PALE, UNNOTICED: PALE}
_PANEL, _WHAT_IF_ROW = 2.6, 0.24  # inches
Panel = Callable[[Any], None]


def draw(found: Evaluation, path: Path, measured: Measured | None = None) -> None:
    """Draw an evaluation.

    Args:
        found: see `Evaluation`.
        path: the PNG.
        measured: figures of the robot, as vertical lines.
    """
    panels: list[tuple[float, Panel]] = []
    tracked = any(one.squares for one in found.episodes)
    if tracked or not (found.sweeps or found.what_ifs):
        panels.append((_PANEL, partial(_tracking, found=found)))
    for sweep in found.sweeps:
        panels.append((_PANEL, partial(_sweep, result=sweep, measured=measured)))
    if found.what_ifs:
        height = 1.0 + _WHAT_IF_ROW * len(found.what_ifs)
        panels.append((height, partial(_what_ifs, found=found)))
    pyplot = drawing()
    heights = [height for height, _ in panels]
    figure = pyplot.figure(figsize=(9.0, sum(heights) + 0.5), layout="constrained")
    # Each panel has its own margins: the long names of the what-ifs need more room.
    parts = figure.subfigures(len(panels), 1, squeeze=False, height_ratios=heights)
    for (_, panel), part in zip(panels, parts[:, 0]):
        panel(part.subplots())
    subject, figures = found.subject, found.figures
    text = (
        f"{subject['policy']['name']} on {subject['robot']['name']}: "
        f"{figures['falls']} falls in {figures['episodes']} episodes of {found.plan.seconds:g} s"
    )
    figure.suptitle(text, x=0.01, ha="left", fontsize="large")
    # Without metadata the same figures give the same bytes.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def _tracking(axes: Any, found: Evaluation) -> None:
    """The velocity error of every episode, and where it fell."""
    numbers, most = [one.number for one in found.episodes], 0.0
    for axis in found.episodes[0].squares:
        errors = [
            math.sqrt(one.squares[axis] / one.counted) if one.counted else math.nan
            for one in found.episodes
        ]
        unit = "rad/s" if axis == "wz" else "m/s"
        most = max(most, *(error for error in errors if math.isfinite(error)), 0.0)
        axes.plot(numbers, errors, ".", markersize=8, label=f"{axis} [{unit}]")
    for one in found.episodes:
        if one.fell_s is not None:
            axes.axvline(one.number, color=RED, alpha=0.35, linewidth=4)
    axes.set_title("velocity error of every episode, RMSE; a bar marks a fall")
    axes.set_xlabel("episode")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(0.0, 1.15 * most or 1.0)
    if found.episodes[0].squares:
        axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _sweep(axes: Any, result: SweepResult, measured: Measured | None) -> None:
    """The share of falls with its 95 % interval, and the margin."""
    name, values = result.sweep.name, list(result.sweep.values)
    share = [100.0 * float(one["fall_share"] or 0.0) for one in result.figures]
    low = [100.0 * float(one["fall_share_low"] or 0.0) for one in result.figures]
    high = [100.0 * float(one["fall_share_high"] or 0.0) for one in result.figures]
    axes.fill_between(values, low, high, color=BLUE, alpha=0.18, linewidth=0, label="95 % interval")
    axes.plot(values, share, ".-", color=BLUE, markersize=7, label="episodes with a fall")
    margin = result.margin
    if margin.nominal >= values[0] - 1e-9 and margin.nominal <= values[-1] + 1e-9:
        axes.axvline(margin.nominal, color=INK, linewidth=1.0, linestyle=":", label="nominal")
    for falls in (margin.falls_below, margin.falls_above):
        if falls is not None:
            label = f"first fall: {falls:g} {unit_of(name)}".rstrip()
            axes.axvline(falls, color=RED, linewidth=1.0, label=label)
    there = None
    if measured is not None:
        there = {DELAY: measured.delay_s, RATE: measured.rate_hz}.get(name)
    if there is not None:
        label = f"measured: {there:.3g} {unit_of(name)}"
        axes.axvline(there, color=GREEN, linewidth=1.5, linestyle="--", label=label)
    axes.set_title(margin_text(result))
    unit = unit_of(name)
    axes.set_xlabel(f"{name} [{unit}]" if unit else name)
    axes.set_ylabel("falls [%]")
    axes.set_ylim(-3.0, 103.0)
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _what_ifs(axes: Any, found: Evaluation) -> None:
    """The time until the closed loop notices each fault."""
    rows = list(reversed(found.what_ifs))
    longest = found.plan.seconds
    for k, one in enumerate(rows):
        time = longest if one.median_s is None else max(one.median_s, 0.02 * longest)
        axes.barh(k, time, color=_COLOURS[one.outcome], height=0.7)
        text = f"{one.outcome}: {one.detail}" if one.outcome == FIGURES_ONLY else one.outcome
        if one.median_s is not None and one.outcome != REFUSED:
            text += f", {one.noticed} of {one.episodes}, {one.median_s:.2f} s"
        inside = one.median_s is None or one.median_s > 0.6 * longest
        place = 0.01 * longest if inside else time + 0.01 * longest
        axes.text(place, k, text, va="center", fontsize="small")
    axes.set_yticks(range(len(rows)), [one.text for one in rows], fontsize="small")
    axes.set_title("what if: median time until the robot falls or the runner stops")
    axes.set_xlabel("time [s]")
    axes.set_xlim(0.0, longest)
    axes.grid(visible=False, axis="y")
